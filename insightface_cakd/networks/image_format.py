"""How a network takes the pixels of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from insightface_cakd.recipe.teacher import TeacherSpec

Channels = Literal["rgb", "bgr"]
Three = tuple[float, float, float]
HALVES: Three = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ImageFormat:
    """Order and range of the pixels that a network takes.

    It takes (x - mean) / std, with x in [0, 1] and one mean and one std for each channel, in the network's order. The default, RGB in
    [-1, 1], is that of everything else in this package.

    Args:
        channels: order of the colours.
    """

    channels: Channels = "rgb"
    mean: Three = HALVES
    std: Three = HALVES

    def __call__(self, images: Tensor) -> Tensor:
        """Return images as the network takes them.

        Shape:
            images: (B, 3, H, W), RGB in [-1, 1]. Returns (B, 3, H, W).
        """
        if self.channels == "bgr":
            images = images.flip(1)
        if (self.mean, self.std) == (HALVES, HALVES):
            return images
        mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return ((images.float() + 1) / 2 - mean) / std

    def __str__(self) -> str:
        return f"{self.channels}, mean {_short(self.mean)}, std {_short(self.std)}"


# As caches and prototypes of former versions were written.
RGB = ImageFormat()


def image_format(spec: TeacherSpec) -> ImageFormat:
    """Return how a recipe's teacher takes the pixels."""
    return ImageFormat(spec.channels, _three(spec.mean), _three(spec.std))


def _three(value: float | Sequence[float] | None) -> Three:
    """Return one value for each channel; a half when not given."""
    if value is None:
        return HALVES
    if isinstance(value, int | float):
        return (float(value),) * 3
    first, second, third = map(float, value)
    return first, second, third


def _short(values: Three) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "/".join(f"{value:g}" for value in values)
