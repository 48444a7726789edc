"""What a view is: what one side sees of an image."""

from typing import Protocol

import torch
from torch import Tensor


class View(Protocol):
    """Changes a batch of images, on their device; the same code in training and in evaluation.

    Shape:
        images: (B, 3, S, S), RGB in [-1, 1], aligned to InsightFace's template. Returns the same shape.
    """

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return what is seen.

        Args:
            images: left as they are.
            generator: of the CPU; whatever is drawn, is drawn from it.
        """


def levels(images: Tensor) -> Tensor:
    """Return [-1, 1] as levels 0 to 255."""
    return (images + 1) * 127.5


def as_pixels(values: Tensor) -> Tensor:
    """Return levels, rounded and clipped as a camera stores them, as [-1, 1]."""
    return values.round().clamp(0, 255) / 127.5 - 1
