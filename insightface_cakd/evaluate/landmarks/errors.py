"""Normalised errors of landmarks, and their summaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from insightface_cakd.errors import EvaluationError

THRESHOLD = 0.08
LEAST = 1e-6
# Of the 68 points: the six of each eye, and the outer corners.
EYES_68 = (tuple(range(36, 42)), tuple(range(42, 48)))
CORNERS_68 = ((36,), (45,))

Normaliser = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Summary:
    """What the errors of many images come to.

    Args:
        nme: their mean.
        median: their median.
        failures: share of images above the threshold.
        auc: area under the cumulative distribution of errors up to the threshold, divided by the threshold; 1 is perfect.
    """

    nme: float
    median: float
    failures: float
    auc: float


def normalisers(names: Sequence[str]) -> dict[str, Normaliser]:
    """Return the known normalisers of points, the usual one first.

    Each takes points (N, K, 2) to lengths (N,): `eye_centres`, the distance of the eyes' centres, for five points and 68; `outer_corners`,
    of the outer corners of the eyes, for 68; `box`, the root of the area of the points' box, for any.
    """
    found: dict[str, Normaliser] = {}
    if len(names) == 68:
        found["outer_corners"] = lambda points: _between(points, *CORNERS_68)
        found["eye_centres"] = lambda points: _between(points, *EYES_68)
    elif (eyes := _eyes(names)) is not None:
        found["eye_centres"] = lambda points: _between(points, *eyes)
    if len(names) > 1:
        found["box"] = box_side
    if not found:
        raise EvaluationError(
            "landmarks: one point without an eye has no length to divide by; expected two points or more."
        )
    return found


def _eyes(names: Sequence[str]) -> tuple[tuple[int], tuple[int]] | None:
    """Return the points that are the eyes' centres, if any."""
    lower = [name.lower() for name in names]
    if "left_eye" in lower and "right_eye" in lower:
        return (lower.index("left_eye"),), (lower.index("right_eye"),)
    # Without names that say otherwise, five points are InsightFace's.
    return ((0,), (1,)) if len(names) == 5 and not any("eye" in name for name in lower) else None


def _between(points: np.ndarray, first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    apart = points[:, list(first)].mean(axis=1) - points[:, list(second)].mean(axis=1)
    return np.linalg.norm(apart, axis=1)


def box_side(points: np.ndarray) -> np.ndarray:
    """Return sqrt(width * height) of each image's points, (N,)."""
    return np.sqrt(np.prod(points.max(axis=1) - points.min(axis=1), axis=1))


def image_errors(found: np.ndarray, given: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return mean_k |p_k - t_k| / d of each image.

    Shape:
        found: (N, K, 2), pixels. given: (N, K, 2). lengths: (N,), d. Result: (N,).

    Edge cases:
        A length below 1e-6 pixels counts as so much.
    """
    distances = np.linalg.norm(found.astype(np.float64) - given, axis=2).mean(axis=1)
    return distances / np.maximum(lengths, LEAST)


def summarise(errors: np.ndarray, threshold: float = THRESHOLD) -> Summary:
    """Return mean, median, failure rate and AUC of errors (N,).

    With F the share of images whose error is at most e, AUC = 1/t * integral of F from 0 to t = mean_i max(0, 1 - e_i / t): exact, without
    steps.
    """
    auc = np.clip(1 - errors / threshold, 0, None).mean()
    return Summary(float(errors.mean()), float(np.median(errors)), float((errors > threshold).mean()), float(auc))
