"""Views that show a part of an aligned face."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import RecipeError


class Crop:
    """Show one box of an aligned face.

    Shape:
        images: (B, 3, S, S), RGB in [-1, 1], aligned to InsightFace's template.

    Args:
        top, bottom, left, right: the box, in pixels of the 112 x 112 template; `bottom` and `right` are the first ones outside.
        rest: `grey` keeps the box in its place and makes everything else 0, the middle of the range; `zoom` fills the image with the box.

    Raises:
        RecipeError: the box is empty or leaves the image, or `rest` is unknown.
    """

    def __init__(
        self,
        top: float = 0,
        bottom: float = FACE_SIZE,
        left: float = 0,
        right: float = FACE_SIZE,
        rest: Literal["grey", "zoom"] = "grey",
    ) -> None:
        numbers = (top, bottom, left, right)
        if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers) or not (
            0 <= top < bottom <= FACE_SIZE and 0 <= left < right <= FACE_SIZE
        ):
            raise RecipeError(
                f"box from row {top} to {bottom}, column {left} to {right}; expected 0 <= top < bottom <= {FACE_SIZE} and "
                f"0 <= left < right <= {FACE_SIZE}, in pixels of the aligned {FACE_SIZE} x {FACE_SIZE} face. Give for example "
                "top: 31, bottom: 73."
            )
        if rest not in ("grey", "zoom"):
            raise RecipeError(f"rest is {rest!r}; expected grey or zoom. Correct it.")
        self.box = numbers
        self.rest = rest
        self.moves_pixels = rest == "zoom"

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the box of each image, in its place or enlarged."""
        side = images.shape[-1]
        top, bottom, left, right = (round(edge * side / FACE_SIZE) for edge in self.box)
        shown = images[..., top : max(bottom, top + 1), left : max(right, left + 1)]
        if self.rest == "zoom":
            return interpolate(shown, (side, side), mode="bilinear", align_corners=False)
        seen = torch.zeros_like(images)
        seen[..., top : top + shown.shape[-2], left : left + shown.shape[-1]] = shown
        return seen


class EyeStrip(Crop):
    """Show the strip of the eyes, as periocular recognition does.

    Rows 31 to 72 of the aligned face, centred on the eyes at row 51.6, with the ratio 48 : 128 of periocular images.

    Args:
        rest: `grey` keeps the strip in its place, `zoom` stretches it over the image.

    Raises:
        RecipeError: `rest` is unknown.

    Source:
        Format of CKD (2012.06746); the rows are an assumption.
    """

    def __init__(self, rest: Literal["grey", "zoom"] = "grey") -> None:
        super().__init__(top=31, bottom=73, rest=rest)
