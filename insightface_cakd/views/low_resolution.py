"""The view of a distant camera: faces at low resolution."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.errors import RecipeError, did_you_mean
from insightface_cakd.views.resize import DOWN, UP
from insightface_cakd.views.view import as_pixels, levels


class LowResolution:
    """Shrink a face, then enlarge it again.

    small = round(D x D^T), seen = round(U small U^T), with D and U the weights of OpenCV's interpolations, border pixels repeated; levels
    are rounded to 0..255 both times, as in a file.

    Shape:
        images: (B, 3, S, S), RGB in [-1, 1].

    Args:
        sizes: pixels per side in between; of several, each image draws one.
        down: interpolation to fewer pixels: `area` (the average), `nearest`, `linear`, `cubic` or `lanczos`; of several, each image draws
            one.
        up: interpolation back: `cubic`, `nearest`, `linear` or `lanczos`; of several, each image draws one, apart from `down`.

    Raises:
        RecipeError: no sizes, one that is no whole number from 1, or an unknown interpolation.

    Edge cases:
        A size of S or more leaves an image as it is.

    Source:
        Down by area, up by cubic, as low-resolution recognition is measured. Equal to
        cv2.resize, but for a level at some sizes, and for ties where two pixels become one. Drawn sizes and interpolations: F-SKD.
    """

    def __init__(
        self, sizes: int | Sequence[int], down: str | Sequence[str] = "area", up: str | Sequence[str] = "cubic"
    ) -> None:
        given = [sizes] if isinstance(sizes, int) else list(sizes)
        if not given or not all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in given):
            raise RecipeError(
                f"sizes is {sizes!r}; expected whole numbers from 1, pixels a side. Give for example [14, 28]."
            )
        self.ways = tuple(product(given, _kinds(down, "down", DOWN), _kinds(up, "up", UP)))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images at the drawn sizes."""
        side = images.shape[-1]
        down, up, whole = _weights(side, self.ways, images.device, images.dtype)
        if len(self.ways) == 1:
            return _resized(images, down[0], up[0]) if self.ways[0][0] < side else images
        drawn = torch.randint(len(self.ways), (len(images),), generator=generator).to(images.device, non_blocking=True)
        # (B, 1, size, S): one product for all colours of an image.
        seen = _resized(images, down[drawn].unsqueeze(1), up[drawn].unsqueeze(1))
        return torch.where(whole[drawn].view(-1, 1, 1, 1), images, seen)


def _kinds(given: str | Sequence[str], name: str, known: dict) -> list[str]:
    kinds = [given] if isinstance(given, str) else list(given)
    for kind in kinds or [""]:
        if kind not in known:
            raise RecipeError(
                f"{name} is {given!r}; expected one or more of {', '.join(known)}.{did_you_mean(kind, known)} Correct it."
            )
    return kinds


def _resized(images: Tensor, down: Tensor, up: Tensor) -> Tensor:
    small = levels(as_pixels(down @ levels(images) @ down.mT))
    return as_pixels(up @ small @ up.mT)


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)
def _weights(
    side: int, ways: tuple[tuple[int, str, str], ...], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the matrices of all ways, (N, size, S) and (N, S, size), and which ways leave an image as it is.

    Smaller sizes are filled up with rows, and columns, of zeros. All are copied to the device once.
    """
    most = max(min(size, side) for size, _, _ in ways)
    down, up = np.zeros((len(ways), most, side)), np.zeros((len(ways), side, most))
    for number, (size, shrink, enlarge) in enumerate(ways):
        small = min(size, side)
        down[number, :small] = DOWN[shrink](side, small)
        up[number, :, :small] = UP[enlarge](small, side)
    whole = torch.tensor([size >= side for size, _, _ in ways], device=device)
    return torch.from_numpy(down).to(device, dtype), torch.from_numpy(up).to(device, dtype), whole
