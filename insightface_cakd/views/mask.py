"""Faces behind a surgical mask."""

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from insightface_cakd.data.align.similarity import TEMPLATE
from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.views.view import as_pixels

# A surgical mask's blue, RGB.
MASK_COLOUR = (142, 180, 206)


class Mask:
    """Put a surgical mask on an aligned face.

    It covers nose, mouth and chin.
    """

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the covered faces."""
        covered, colour = _painting(images.shape[-1], images.device, images.dtype)
        return torch.where(covered, colour, images)


def mask_corners() -> np.ndarray:
    """Return the mask's outline, (8, 2), in pixels of 112 x 112.

    It goes from the left cheek over the nose, down to the chin. Widths are fractions of the distance of the eyes: the mask begins between
    eyes and nose tip, is as wide as a face, and ends at the lower edge of the image.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = TEMPLATE.astype(np.float64)
    apart = right_eye[0] - left_eye[0]
    eyes, mouth, middle = (left_eye[1] + right_eye[1]) / 2, (left_mouth[1] + right_mouth[1]) / 2, nose[0]
    bridge, cheek, bottom = eyes + 0.45 * (nose[1] - eyes), eyes + 0.75 * (nose[1] - eyes), FACE_SIZE - 1
    half = [(0.25, bridge), (1.1, cheek), (1.05, mouth), (0.55, bottom)]
    left = [(middle - part * apart, y) for part, y in half]
    right = [(middle + part * apart, y) for part, y in half]
    return np.array([*left[::-1], *right])


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)
def _painting(side: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the covered pixels and their colour, copied to the device once.

    Shape:
        Returns bool (side, side), and (1, 3, 1, 1).
    """
    covered = torch.from_numpy(_covered(side)).to(device)
    return covered, as_pixels(torch.tensor(MASK_COLOUR, device=device, dtype=dtype)).view(1, 3, 1, 1)


def _covered(side: int) -> np.ndarray:
    """Return which pixels of a face the mask covers, bool (side, side)."""
    corners = np.rint(mask_corners() * (side / FACE_SIZE)).astype(np.int32)
    return cv2.fillPoly(np.zeros((side, side), np.uint8), [corners], 1).astype(bool)
