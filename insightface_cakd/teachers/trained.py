"""A teacher that learns with its student."""

import torch
from torch import Tensor, nn

from insightface_cakd.teachers.base import Teacher


class TrainedTeacher(Teacher):
    """A network whose weights learn from the terms that do not treat it as a constant.

    Its embedder is trained, synchronised over ranks and saved with the student's method; it takes train mode with the student.

    Args:
        embedder: maps (B, 3, input_size, input_size) to its answer.
        name: what logs and errors call it.
        embedding_size: width of the embedding, or the shape of another answer without the batch.
        device: where it runs.
        sha256: of the file that it starts from.
        input_size: side of the images that it takes.
    """

    def __init__(
        self,
        embedder: nn.Module,
        name: str,
        embedding_size: int | tuple[int, ...],
        device: torch.device | str,
        *,
        sha256: str | None = None,
        input_size: int = 112,
    ) -> None:
        learn = [parameter.requires_grad for parameter in embedder.parameters()]
        super().__init__(embedder, name, embedding_size, device, sha256=sha256, input_size=input_size)
        for parameter, wanted in zip(self.embedder.parameters(), learn, strict=True):
            parameter.requires_grad_(wanted)

    @property
    def trains(self) -> bool:
        """True."""
        return True

    def train(self, mode: bool = True) -> "TrainedTeacher":
        """Switch with the student."""
        self.embedder.train(mode)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the answers of a batch, with their graph where gradients are enabled.

        Raises:
            ShapeError: the images are not (B, 3, H, W) floats, or the answers have another shape than was promised.
        """
        return self._embed(images)
