"""Crops of faces as InsightFace's landmark models see them."""

from dataclasses import dataclass

import cv2
import numpy as np

# Side of the images that InsightFace's landmark models take.
LANDMARK_SIZE = 192


@dataclass(frozen=True)
class Box:
    """A square of an image: its centre and side, in pixels."""

    x: float
    y: float
    side: float

    @classmethod
    def around(cls, corners: np.ndarray, factor: float = 1.0, lift: float = 0.0) -> "Box":
        """Return the square around a box.

        Args:
            corners: (n, 2), points whose extent is the box.
            factor: side of the square, in longer sides of the box.
            lift: how far it is moved upwards, in sides of the square.
        """
        low, high = corners.min(axis=0), corners.max(axis=0)
        side = factor * max(float((high - low).max()), 1.0)
        x, y = ((low + high) / 2).tolist()
        return cls(x, y - lift * side, side)


def box_matrix(box: Box, size: int = LANDMARK_SIZE) -> np.ndarray:
    """Return the map (2, 3) of pixels to those of the crop.

    That of InsightFace's `face_align.transform` without rotation: the centre of the square becomes (size / 2, size / 2).
    """
    scale = size / box.side
    return np.array([[scale, 0, size / 2 - scale * box.x], [0, scale, size / 2 - scale * box.y]])


def warp(rgb: np.ndarray, points: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Move an image and its points alike.

    What lies outside the image is black.

    Args:
        rgb: (H, W, 3).
        points: (K, 2), pixels.
        matrix: (2, 3), maps pixels to pixels of the result.
        size: side of the result.

    Returns:
        The image (size, size, 3) and its points.
    """
    moved = cv2.warpAffine(rgb, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
    return moved, points @ matrix[:, :2].T + matrix[:, 2]
