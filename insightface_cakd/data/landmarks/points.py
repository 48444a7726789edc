"""Images and their landmarks, and the units of a landmark."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np


class PointSet(ABC):
    """Images and their landmarks (N, K, 2), float32, in pixels.

    (0, 0) is the centre of the first pixel, as in OpenCV and InsightFace.

    Args:
        where: the set, as errors name it.
        points: (N, K, 2), x and y.
        names: of the K points.
        flip: the point that each one becomes in a mirror; None where that is not known.
    """

    def __init__(self, where: str, points: np.ndarray, names: Sequence[str], flip: tuple[int, ...] | None) -> None:
        self.where, self.points, self.names, self.flip = where, points, tuple(names), flip

    def __len__(self) -> int:
        return len(self.points)

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """Return an image, uint8 (H, W, 3), RGB."""

    @abstractmethod
    def title(self, index: int) -> str:
        """Return what an image is called."""

    def placed(self, index: int, image: np.ndarray | None = None) -> np.ndarray:
        """Return an image's landmarks (K, 2) in its units.

        `image` is given if it has been read already.
        """
        height, width = (self.image(index) if image is None else image).shape[:2]
        return to_units(self.points[index], (width, height))


def to_units(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return points in units of the image.

    p = (2 x + 1) / width - 1, and with the height for y.

    -1 and 1 are the borders of the image, not the centres of its outer pixels: so p does not depend on how many pixels the image is resized
    to, and a mirrored point is -p.

    Shape:
        points: (..., 2), pixels. size: (width, height). Result: (..., 2).
    """
    return (2 * points + 1) / np.array(size, points.dtype) - 1


def to_pixels(units: np.ndarray, size: np.ndarray | tuple[int, int]) -> np.ndarray:
    """Return the pixels of points in units of the image; undoes `to_units`.

    Shape:
        units: (..., 2). size: (..., 2), width and height. Result: (..., 2).
    """
    return ((units + 1) * np.asarray(size, units.dtype) - 1) / 2
