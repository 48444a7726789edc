"""The view of a distant camera: faces at low resolution."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.errors import RecipeError
from insightface_cakd.views.view import as_pixels, levels

# OpenCV's constant of the cubic.
_SHARPNESS = -0.75


class LowResolution:
    """Shrink a face by averaging, then enlarge it again.

    Enlarging is by the bicubic of OpenCV. small = round(D x D^T), seen = round(U small U^T), with D the area averages and U the bicubic
    weights, border pixels repeated; levels are rounded to 0..255 both times, as in a file.

    Args:
        sizes: pixels per side in between, from 1; of several, each image draws one. A size of S or more leaves an image as it is.

    Source:
        Down by area, up by cubic, as low-resolution recognition is measured. Equal to
        cv2.resize, but for a level at some sizes, and for ties where two pixels become one.
    """

    def __init__(self, sizes: int | Sequence[int]) -> None:
        given = [sizes] if isinstance(sizes, int) else list(sizes)
        if not given or not all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in given):
            raise RecipeError(
                f"sizes is {sizes!r}; expected whole numbers from 1, pixels a side. Give for example [14, 28]."
            )
        self.sizes = given

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images at the drawn sizes."""
        if len(self.sizes) == 1:
            return _lower(images, self.sizes[0])
        drawn = torch.randint(len(self.sizes), (len(images),), generator=generator)
        seen = images.clone()
        for number, size in enumerate(self.sizes):
            chosen = (drawn == number).nonzero().view(-1).to(images.device, non_blocking=True)
            seen[chosen] = _lower(images[chosen], size)
        return seen


def _lower(images: Tensor, size: int) -> Tensor:
    side = images.shape[-1]
    if size >= side:
        return images
    down, up = _weights(side, size, images.device, images.dtype)
    small = levels(as_pixels(down @ levels(images) @ down.T))
    return as_pixels(up @ small @ up.T)


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)
def _weights(side: int, size: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return both matrices on the device, to which they are copied once."""
    matrices = area_weights(side, size), cubic_weights(size, side)
    down, up = (torch.from_numpy(matrix).to(device, dtype) for matrix in matrices)
    return down, up


def area_weights(side: int, size: int) -> np.ndarray:
    """Return the share of each pixel in each of fewer, larger pixels.

    A matrix (size, side) whose rows sum to 1.
    """
    edges = np.arange(size + 1) * side / size
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * size / side


def cubic_weights(size: int, side: int) -> np.ndarray:
    """Return the bicubic weights that enlarge a row of pixels.

    A matrix (side, size): the weights of four neighbours in each of more, smaller pixels; rows sum to 1.
    """
    places = (np.arange(side) + 0.5) * size / side - 0.5
    weights = np.zeros((side, size))
    for offset in (-1, 0, 1, 2):
        near = np.floor(places) + offset
        np.add.at(weights, (np.arange(side), np.clip(near, 0, size - 1).astype(int)), _cubic(np.abs(places - near)))
    return weights


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Return the bicubic weight at a distance in pixels, >= 0."""
    a, x = _SHARPNESS, distance
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
