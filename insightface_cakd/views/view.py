"""The protocol of views: how one side sees an image."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class View(Protocol):
    """Changes a batch of images, on their device.

    The same code runs in training and in evaluation. A class whose views move pixels has an attribute `moves_pixels = True`, so that a task
    whose target is a place in the image refuses them.

    Shape:
        images: (B, 3, S, S), RGB in [-1, 1], aligned to InsightFace's template. Returns the same shape.
    """

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images as this view shows them.

        Args:
            images: left unchanged.
            generator: of the CPU; the source of everything random.
        """


# Steps of a level that are told apart.
_FINE = 256


def levels(images: Tensor) -> Tensor:
    """Return pixel values in [-1, 1] as levels, 0 to 255."""
    # Whole levels come out whole, so that a mean that lies between two of them is rounded as in a file.
    return ((images + 1) * (127.5 * _FINE)).round() / _FINE


def as_bytes(images: Tensor) -> np.ndarray:
    """Return images as a file stores them.

    Shape:
        images: (B, 3, S, S), in [-1, 1]. Returns uint8 (B, S, S, 3).
    """
    rows: np.ndarray = levels(images).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return rows


def as_pixels(values: Tensor) -> Tensor:
    """Return levels as pixel values in [-1, 1].

    They are rounded and clipped to 0..255, as a camera stores them.
    """
    return values.round().clamp(0, 255) / 127.5 - 1
