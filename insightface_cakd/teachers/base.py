"""The one class that stands for a teacher, whatever computes its embeddings."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from insightface_cakd.errors import ShapeError, TeacherError
from insightface_cakd.networks.token_grid import TokenGrid


class Teacher(nn.Module):
    """A frozen source of embeddings: no gradient, always in eval mode, nothing of it ever changes.

    Shape:
        images: (B, 3, H, W), RGB in [-1, 1]; resized to `input_size` when H or W differ.
        Embeddings: (B, embedding_size), float32, not normalised, on the images' device.

    Args:
        embedder: maps (B, 3, input_size, input_size) to (B, embedding_size).
        name: what logs and errors call this teacher.
        embedding_size: width of the embedding.
        device: where the embedder runs.
        sha256: of the file that the teacher was loaded from.
        input_size: side of the images that the embedder takes.
        tappable: whether taps may hook the embedder's modules.
        autocast: run in half precision on CUDA; for networks that do not choose their precision themselves.
    """

    def __init__(
        self,
        embedder: nn.Module,
        name: str,
        embedding_size: int,
        device: torch.device | str,
        *,
        sha256: str | None = None,
        input_size: int = 112,
        tappable: bool = True,
        autocast: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.embedding_size = embedding_size
        self.device = torch.device(device)
        self.sha256 = sha256
        self.input_size = input_size
        self._autocasts = autocast and self.device.type == "cuda"
        self._precision = half_precision(self.device)
        self.embedder = freeze(embedder, self.device)
        self._tappable = tappable
        self.prompts: nn.Module | None = None
        self._channels_last = is_convolutional(embedder)
        self.training = False

    @classmethod
    def of_network(cls, network: nn.Module, name: str, embedding_size: int, device: torch.device | str) -> "Teacher":
        """Make a teacher of a network in memory, as it is: moved to the device, frozen, put into eval mode."""
        return cls(network, name, embedding_size, device)

    @property
    def trains(self) -> bool:
        """Whether the whole network learns with the student."""
        return False

    @property
    def shown(self) -> tuple[Tensor, TokenGrid] | None:
        """The tokens that it shows by itself, and how they lie; None for a teacher that must be tapped."""
        return None

    @property
    def learns(self) -> bool:
        """Whether anything in it learns with the student."""
        return self.trains or self.prompts is not None

    @property
    def network(self) -> nn.Module | None:
        """The modules that taps may hook; None for a teacher that gives embeddings only."""
        return self.embedder if self._tappable else None

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode, whatever `mode` says."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch.

        Raises:
            ShapeError: the images are not (B, 3, H, W) floats, or the embeddings have another shape than was promised.
            TeacherError: the teacher has no answer for these images (a cache miss).
        """
        return self._embed(images)

    @torch.no_grad()
    def plain(self, images: Tensor) -> Tensor:
        """Return what the frozen network alone says: for a teacher without prompts, the embeddings of `forward`."""
        return self._embed(images)

    def _embed(self, images: Tensor) -> Tensor:
        """Check the images, run the network, check the embeddings."""
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ShapeError(
                f"teacher {self.name}: images are {tuple(images.shape)} of {images.dtype}; expected (B, 3, H, W) "
                "floats in [-1, 1]."
            )
        if self.embedder.training:
            self.embedder.eval()
        # The loop's own autocast must not change what the teacher says.
        with torch.autocast(self.device.type, dtype=self._precision, enabled=self._autocasts):
            embeddings = self.embedder(self._prepared(images))
        expected = (images.shape[0], self.embedding_size)
        if not isinstance(embeddings, Tensor) or tuple(embeddings.shape) != expected:
            raise ShapeError(
                f"teacher {self.name}: gave {describe(embeddings)}; expected embeddings of shape {expected}."
            )
        return embeddings.to(images.device, torch.float32)

    def _prepared(self, images: Tensor) -> Tensor:
        """Return the images on the teacher's device, in its size and memory layout."""
        images = images.to(self.device)
        if images.shape[-2:] != (self.input_size, self.input_size):
            shrinks = min(images.shape[-2:]) > self.input_size
            images = interpolate(images.float(), size=(self.input_size,) * 2, mode="bilinear", antialias=shrinks)
        return images.contiguous(memory_format=torch.channels_last) if self._channels_last else images


def freeze(network: nn.Module, device: torch.device) -> nn.Module:
    """Put a network on a device, in eval mode, without gradients, in the memory layout that suits it."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.eval().to(device)
    return network.to(memory_format=torch.channels_last) if is_convolutional(network) else network


def is_convolutional(network: nn.Module) -> bool:
    """Return whether any convolution has overlapping windows; the patch embedding of a Transformer has not."""
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return any(module.kernel_size[0] > module.stride[0] for module in convolutions)


def half_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 where a GPU computes in it: it has float32's range, which a wide Transformer may need."""
    return torch.bfloat16 if device.type != "cuda" or torch.cuda.is_bf16_supported() else torch.float16


def describe(value: object) -> str:
    """Return a tensor's shape, or the type of anything else, for an error line."""
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def reason_of(error: Exception) -> str:
    """Return what a foreign network raised in one line of at most 300 characters, for an error line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


@torch.no_grad()
def measure_width(embedder: nn.Module, device: torch.device, input_size: int, where: str) -> int:
    """Run two blank images through an embedder and return the width of its embedding.

    Args:
        embedder: in eval mode, on `device`.
        device: where to run.
        input_size: side of the blank images.
        where: what an error line begins with.

    Raises:
        TeacherError: it cannot run, gives something else than one row per image, or values that are not finite.
    """
    blank = torch.zeros(2, 3, input_size, input_size, device=device)
    try:
        embeddings = embedder(blank)
    except TeacherError:
        raise
    # A foreign network may raise anything here; all of it means that this teacher cannot be used.
    except Exception as error:
        raise TeacherError(
            f"{where}: cannot embed 2 images of {input_size}x{input_size} ({reason_of(error)}); expected a network of free "
            "batch size. Is teacher.input_size right?"
        ) from error
    if not isinstance(embeddings, Tensor) or embeddings.ndim != 2 or embeddings.shape[0] != 2:
        raise TeacherError(
            f"{where}: gives {describe(embeddings)} for 2 images; expected (2, D), one embedding per image."
        )
    if not torch.isfinite(embeddings).all():
        raise TeacherError(f"{where}: its embedding of a blank image is not finite. The weights are damaged.")
    return embeddings.shape[1]
