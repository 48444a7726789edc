"""Warps a face to InsightFace's 112 x 112 template by five landmarks."""

import cv2
import numpy as np

from insightface_cakd.data.images import FACE_SIZE

# Left eye, right eye, nose, left and right mouth corner.
# 8 is added in float32, so that even the last bits equal upstream's.
TEMPLATE = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]], np.float32
)
TEMPLATE[:, 0] += 8.0


def similarity(points: np.ndarray) -> np.ndarray | None:
    """Return the matrix (2, 3) that maps landmarks closest to the template.

    It is float64, the landmarks float32 (5, 2), in pixels. None if no transform exists, as for five identical points.

    Source:
        Umeyama, PAMI 1991, doi:10.1109/34.88573, in the order of operations and the precision of scikit-image, whose
        matrix it equals to the last bit.
    """
    centre, goal = points.mean(axis=0), TEMPLATE.mean(axis=0)
    spread = points - centre
    covariance = (TEMPLATE - goal).T @ spread / len(points)  # (2, 2)
    left, singular, right = np.linalg.svd(covariance)
    sign = np.array([1.0, -1.0 if np.linalg.det(covariance) < 0 else 1.0])
    tolerance = singular.max() * 2 * np.finfo(float).eps
    rank = np.count_nonzero(singular > tolerance)
    if rank == 0 or not np.isfinite(singular).all():
        return None
    turn = sign
    if rank == 1:
        turn = np.array([1.0, 1.0 if np.linalg.det(left) * np.linalg.det(right) > 0 else -1.0])
    rotation = left @ np.diag(turn) @ right
    scale = 1.0 / spread.var(axis=0).sum() * (singular @ sign)
    matrix = np.empty((2, 3))
    matrix[:, 2] = goal - scale * (rotation @ centre)
    matrix[:, :2] = rotation * scale
    return matrix


def align(bgr: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Return an aligned face, uint8 (112, 112, 3) RGB, or None.

    Shape:
        bgr: uint8 (H, W, 3); what lies outside it is black. points: float32 (5, 2), in pixels; None if no transform fits.
    """
    matrix = similarity(points)
    if matrix is None:
        return None
    return cv2.cvtColor(cv2.warpAffine(bgr, matrix, (FACE_SIZE, FACE_SIZE), borderValue=0.0), cv2.COLOR_BGR2RGB)
