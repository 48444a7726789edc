"""Finds the face that landmarks belong to, for InsightFace's own crop."""

from pathlib import Path

import cv2
import numpy as np

from insightface_cakd.data.align.detector import Detector

# The image gets a black margin of this share of its side: detectors miss faces that fill the image.
MARGIN = 0.5


class DetectedBoxes:
    """Boxes of faces whose points are known.

    Args:
        path: of a detector that insightface loads.
    """

    def __init__(self, path: Path) -> None:
        self.detector = Detector(path)

    def find(self, rgb: np.ndarray, points: np.ndarray) -> np.ndarray | None:
        """Return the box that overlaps most with that of the points.

        Args:
            rgb: uint8 (H, W, 3).
            points: (K, 2), pixels.

        Returns:
            Corners (2, 2) in pixels; None if no box holds half of the points.
        """
        margin = round(MARGIN * max(rgb.shape[:2]))
        wide = cv2.copyMakeBorder(rgb[..., ::-1], *(margin,) * 4, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        boxes = [np.array(face.box).reshape(2, 2) - margin for face in self.detector.find(wide)]
        holding = [box for box in boxes if _inside(points, box).mean() >= 0.5]
        around = np.stack([points.min(axis=0), points.max(axis=0)])
        return max(holding, key=lambda box: _overlap(box, around), default=None)


def _inside(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    return ((points >= box[0]) & (points <= box[1])).all(axis=1)


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return intersection over union of two boxes (2, 2)."""
    common = np.prod(np.clip(np.minimum(first[1], second[1]) - np.maximum(first[0], second[0]), 0, None))
    return float(common / max(np.prod(first[1] - first[0]) + np.prod(second[1] - second[0]) - common, 1e-9))
