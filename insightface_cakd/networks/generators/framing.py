"""Frames generated images like aligned faces, by one rule without detection."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import RecipeError

Crop = str | tuple[float, float, float, float]

WHOLE, FFHQ = "whole", "ffhq"
# Eyes of a StyleGAN of aligned FFHQ faces, in 1/1024 of its side, and of the aligned face, in pixels: row, left column, right column.
FFHQ_EYES = (480, 380, 650)
ALIGNED_EYES = (51.6, 38.2946, 73.5318)


def read_crop(crop: Any) -> Crop:
    """Return the rule that a recipe gives.

    Args:
        crop: `whole`, `ffhq`, or a box [top, bottom, left, right] in shares of the image's side.

    Raises:
        RecipeError: none of these, or the box is empty or leaves the image.
    """
    if crop in (WHOLE, FFHQ) and isinstance(crop, str):
        return crop
    numbers = tuple(crop) if isinstance(crop, Sequence) and not isinstance(crop, str) else ()
    if len(numbers) == 4 and all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
        top, bottom, left, right = numbers
        if 0 <= top < bottom <= 1 and 0 <= left < right <= 1:
            return top, bottom, left, right
    raise RecipeError(
        f"crop is {crop!r}; expected whole, ffhq, or [top, bottom, left, right] in shares of the side, 0 <= top < bottom <= 1. Correct it."
    )


def frame(images: Tensor, crop: Crop) -> Tensor:
    """Return the face of each image, (B, 3, 112, 112).

    `whole` shows the whole image and a box its part. `ffhq` puts the eyes of a StyleGAN of aligned FFHQ faces of side R, assumed at row
    480 R / 1024 and columns 380 R / 1024 and 650 R / 1024 (whole numbers), on row 51.6 and columns 38.2946 and 73.5318. Bilinear, with a
    filter as wide as the reduction, so that large images do not alias.

    Shape:
        images: (B, 3, R, R).
    Source:
        `ffhq`: SynthDistill (2308.14852); its released code crops and resizes in whole pixels. The filter is an assumption.
    """
    side = images.shape[-1]
    rows, columns = (_matrix(side, *line).to(images) for line in _lines(side, crop))
    return rows @ images @ columns.T


def _lines(side: int, crop: Crop) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return source place of the first output pixel and source pixels a step, of rows and columns."""
    if crop == FFHQ:
        row, left, right = (value * side // 1024 for value in FFHQ_EYES)
        aligned_row, aligned_left, aligned_right = ALIGNED_EYES
        step = (right - left) / (aligned_right - aligned_left)
        return (row - aligned_row * step, step), (left - aligned_left * step, step)
    box = (0.0, 1.0, 0.0, 1.0) if isinstance(crop, str) else crop
    return _line(side, *box[:2]), _line(side, *box[2:])


def _line(side: int, first: float, last: float) -> tuple[float, float]:
    step = (last - first) * side / FACE_SIZE
    return first * side + step / 2 - 0.5, step


def _matrix(side: int, first: float, step: float) -> Tensor:
    """Return weights (112, side) of a bilinear filter; the edge goes on outside."""
    wide = max(1.0, step)
    places = first + step * torch.arange(FACE_SIZE, dtype=torch.float64)  # (112,)
    reach = int(abs(first) + FACE_SIZE * step + wide) + side
    source = torch.arange(-reach, side + reach, dtype=torch.float64)
    weights = (1 - (places[:, None] - source).abs() / wide).clamp_min(0)  # (112, source)
    kept = torch.zeros(FACE_SIZE, side, dtype=torch.float64)
    kept.index_add_(1, source.long().clamp(0, side - 1), weights)
    return (kept / kept.sum(dim=1, keepdim=True)).float()
