"""The class of all teachers, whatever computes their embeddings."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from insightface_cakd.errors import ShapeError, TeacherError
from insightface_cakd.networks.image_format import RGB, ImageFormat
from insightface_cakd.networks.memory_layout import in_fast_layout, is_convolutional
from insightface_cakd.networks.token_grid import TokenGrid
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.teachers.trial import describe, measure_answer


class Teacher(nn.Module):
    """A frozen source of embeddings.

    It has no gradient, is always in eval mode and never changes.

    Shape:
        images: (B, 3, H, W), RGB in [-1, 1]; resized to `input_size` when H or W differ.
        Embeddings: (B, embedding_size), or another answer (B, ...), float32, not normalised, on the images' device.

    Args:
        embedder: maps (B, 3, input_size, input_size) to (B, embedding_size).
        name: of the teacher in logs and errors.
        embedding_size: width of the embedding, or the shape of another answer without the batch.
        device: where the embedder runs.
        sha256: of the file that the teacher was loaded from.
        input_size: side of the images that the embedder takes, in pixels.
        tappable: whether taps may hook the embedder's modules.
        autocast: run in half precision on CUDA; for networks that do not choose their precision themselves.
        takes: how the embedder takes the pixels; images are given to it in that format.
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
        tappable: bool = True,
        autocast: bool = False,
        takes: ImageFormat = RGB,
    ) -> None:
        super().__init__()
        self.name = name
        self.answer = (embedding_size,) if isinstance(embedding_size, int) else tuple(embedding_size)
        self.device = torch.device(device)
        self.sha256 = sha256
        self.input_size = input_size
        self.takes = takes
        self._autocasts = autocast and self.device.type == "cuda"
        self._precision = _half_precision(self.device)
        self.embedder = self._placed(embedder)
        self._tappable = tappable
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self.prompts: nn.Module | None = None
        # (classes, D), of its head, where they come from no file.
        self.centres: Tensor | None = None
        self._channels_last = is_convolutional(embedder)
        self.training = False

    @classmethod
    def of_network(cls, network: nn.Module, name: str, embedding_size: int, device: torch.device | str) -> "Teacher":
        """Make a teacher of a network in memory.

        The network is moved to the device, frozen, put into eval mode and tried out.

        Args:
            network: maps (B, 3, 112, 112) to (B, embedding_size).
            name: of the teacher in logs and errors.
            embedding_size: width of the embedding.
            device: where the network runs.

        Raises:
            TeacherError: it gives no embeddings, or its embeddings say nothing: not finite, all zero, or the same for all images.
        """
        teacher = cls(network, name, embedding_size, device)
        measure_answer(teacher.embedder, teacher.device, teacher.input_size, f"teacher {name}")
        return teacher

    def compute_in_half(self) -> None:
        """Run the embedder in half precision on any device from now on."""
        self._autocasts = True

    def compile_forward(self) -> None:
        """Let one program of torch.compile teach from now on.

        It cannot be tapped. Batches are of one size while it teaches; what measures it, with sizes of its own, runs the network as it is.
        """
        embedder = self.embedder
        self._compiled = torch.compile(lambda images: embedder(images), dynamic=False)

    @property
    def compiled(self) -> bool:
        """Whether `forward` is a program of torch.compile."""
        return self._compiled is not None

    @property
    def embedding_size(self) -> int:
        """Width of the embedding.

        Raises:
            ShapeError: its answer is no embedding.
        """
        if len(self.answer) != 1:
            raise ShapeError(
                f"teacher {self.name}: answers {self.answer}; expected an embedding (D,) here. Use a loss on its answer as it is."
            )
        return self.answer[0]

    @property
    def trains(self) -> bool:
        """Whether the whole network learns with the student."""
        return False

    @property
    def shown(self) -> tuple[Tensor, TokenGrid] | None:
        """The tokens that it gives by itself, and their grid.

        None for a teacher that must be tapped.
        """
        return None

    @property
    def learns(self) -> bool:
        """Whether anything in it learns with the student."""
        return self.trains or self.prompts is not None

    @property
    def network(self) -> nn.Module | None:
        """The modules that taps may hook.

        None for a teacher that gives embeddings only.
        """
        return self.embedder if self._tappable and not self.compiled else None

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode, whatever `mode` says.

        Args:
            mode: ignored by a frozen teacher.
        """
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch.

        Shape:
            images: (B, 3, H, W), RGB in [-1, 1]. Returns (B, embedding_size), float32.

        Raises:
            ShapeError: the images are not (B, 3, H, W) floats, or the embeddings have another shape than the teacher was made for.
            TeacherError: the teacher has no answer for these images (a cache miss).
        """
        return self._embed(images, run=self._compiled)

    @torch.no_grad()
    def plain(self, images: Tensor) -> Tensor:
        """Return the embeddings of the frozen network alone.

        For a teacher without prompts, those of `forward`. They may be remembered, of the training images only: see `computed`.

        Shape:
            images: (B, 3, H, W), RGB in [-1, 1]. Returns (B, embedding_size), float32.
        """
        return self._embed(images)

    @torch.no_grad()
    def computed(self, images: Tensor) -> Tensor:
        """Return the frozen network's embeddings, without any memory of them.

        Shape:
            images: (B, 3, H, W), RGB in [-1, 1]. Returns (B, embedding_size), float32.
        """
        return self._embed(images)

    def _placed(self, embedder: nn.Module) -> nn.Module:
        """Return the embedder as it is kept: frozen, on the device."""
        return freeze(embedder, self.device)

    def _embed(
        self,
        images: Tensor,
        fails: str = "fails",
        expected: str = "embeddings of these images. Correct the network.",
        run: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Check the images, run the network or what stands for it, check the embeddings."""
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ShapeError(
                f"teacher {self.name}: images are {tuple(images.shape)} of {images.dtype}; expected (B, 3, H, W) "
                "floats in [-1, 1]."
            )
        if self.embedder.training and not self.trains:
            self.embedder.eval()
        # The loop's own autocast must not change the teacher's embeddings.
        with (
            foreign(f"teacher {self.name}", TeacherError, expected, of=self.embedder, fails=fails),
            torch.autocast(self.device.type, dtype=self._precision, enabled=self._autocasts),
        ):
            embeddings = (run or self.embedder)(self._prepared(images))
        shape = (images.shape[0], *self.answer)
        if not isinstance(embeddings, Tensor) or tuple(embeddings.shape) != shape:
            raise ShapeError(f"teacher {self.name}: gave {describe(embeddings)}; expected embeddings of shape {shape}.")
        return embeddings.to(images.device, torch.float32)

    def _prepared(self, images: Tensor) -> Tensor:
        """Return the images on the teacher's device, in its size, colours and layout."""
        images = images.to(self.device)
        if images.shape[-2:] != (self.input_size, self.input_size):
            shrinks = min(images.shape[-2:]) > self.input_size
            images = interpolate(images.float(), size=(self.input_size,) * 2, mode="bilinear", antialias=shrinks)
        images = self._coloured(images)
        return images.contiguous(memory_format=torch.channels_last) if self._channels_last else images

    def _coloured(self, images: Tensor) -> Tensor:
        return self.takes(images)


def freeze(network: nn.Module, device: torch.device) -> nn.Module:
    """Put a network on a device, frozen and in eval mode.

    A convolutional network gets the memory layout channels-last.
    """
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.eval().to(device)
    return in_fast_layout(network)


def _half_precision(device: torch.device) -> torch.dtype:
    # bfloat16 has the range of float32, as a wide Transformer may need; some GPUs do not compute in it.
    return torch.bfloat16 if device.type != "cuda" or torch.cuda.is_bf16_supported() else torch.float16
