"""A teacher that learns with its student."""

import torch
from torch import Tensor, nn

from insightface_cakd.teachers.base import Teacher


class TrainedTeacher(Teacher):
    """A network whose weights learn with the student.

    They learn from the terms that do not treat the teacher as a constant. Its embedder is trained, synchronised over ranks and saved with
    the student's method; it is in train mode whenever the student is.

    Args:
        embedder: maps (B, 3, input_size, input_size) to its answer.
        embedding_size: width of the embedding, or the shape of another answer without the batch.
        device: where it runs.
        input_size: side of the images that it takes, in pixels.
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
        """True: the whole network learns with the student."""
        return True

    def train(self, mode: bool = True) -> "TrainedTeacher":
        """Switch with the student.

        Args:
            mode: True for train mode.
        """
        self.embedder.train(mode)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the answers of a batch, with their graph.

        The graph is kept where gradients are enabled.
        """
        return self._embed(images)
