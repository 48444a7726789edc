"""The ROC curve of pair scores, and TAR at FAR."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.verification import ROUNDING


@dataclass(frozen=True)
class Roc:
    """An ROC curve and the sorted scores behind it.

    Args:
        fpr: (K,), ascending from 0 to 1: the points of scikit-learn, which leaves out those on a straight line.
        tpr: (K,).
        genuine: scores of same pairs, ascending.
        impostors: scores of different pairs, ascending.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    genuine: np.ndarray
    impostors: np.ndarray

    @property
    def auc(self) -> float:
        """Return the area under the curve."""
        return float(np.trapezoid(self.tpr, self.fpr))

    def tar_nearest(self, far: float) -> float:
        """Return TAR at the nearest false positive rate, as upstream's scripts do.

        The rate there may exceed `far`. Of equally near rates the larger one counts, and then the larger TAR.
        """
        return float(self.tpr[::-1][np.argmin(np.abs(self.fpr[::-1] - far))])

    def tar_strict(self, far: float) -> float | None:
        """Return the largest TAR at which the false accept rate is kept.

        A threshold may accept at most a share `far` of the different pairs; None where these are fewer than 1 / far.
        """
        allowed = int(len(self.impostors) * far + ROUNDING)
        if not allowed:
            return None
        if allowed >= len(self.impostors):
            return 1.0
        limit = self.impostors[len(self.impostors) - 1 - allowed]
        return 1 - np.searchsorted(self.genuine, limit, "right") / len(self.genuine)


def roc_of(scores: np.ndarray, same: np.ndarray) -> Roc:
    """Return the ROC curve of scores (P,); larger is more alike."""
    genuine, impostors = scores[same], scores[~same]
    if not len(genuine) or not len(impostors):
        raise EvaluationError(
            f"pairs: {len(genuine)} same and {len(impostors)} different; expected both kinds. Is the pair list whole?"
        )
    genuine.sort()
    _sort(impostors)
    if not np.isfinite([genuine[0], genuine[-1], impostors[0], impostors[-1]]).all():
        raise EvaluationError("pairs: scores are not finite; expected cosines. Extract the embeddings again.")
    false, true = _curve_counts(genuine, impostors)
    return Roc(false / len(impostors), true / len(genuine), genuine, impostors)


def _sort(scores: np.ndarray) -> None:
    """Sort in place, the lower and the upper half in two threads."""
    middle = len(scores) // 2
    scores.partition(middle)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(np.ndarray.sort, [scores[:middle], scores[middle:]]))


def _curve_counts(genuine: np.ndarray, impostors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return accepted different and same pairs at the curve's points.

    Both start at 0; scores are ascending. The points are those that `sklearn.metrics.roc_curve` keeps: the first and the
    last threshold, and those at which the step to the next one differs from the step before. Most steps are one different
    pair, so only the others, which are same pairs and ties, are examined, and the pairs need not be sorted all together.
    """
    ties = impostors[1:][impostors[1:] == impostors[:-1]]
    special = np.unique(np.concatenate([genuine, ties]))[::-1]
    after, before = (
        np.stack([len(sorted_) - np.searchsorted(sorted_, special, side) for sorted_ in (impostors, genuine)])
        for side in ("left", "right")
    )  # each (2, S): counts with and without the score itself
    step = after - before
    follows = np.zeros(len(special) + 1, bool)
    follows[1:-1] = (before[:, 1:] == after[:, :-1]).all(axis=0)
    same_step = np.zeros(len(special) + 1, bool)
    same_step[1:-1] = (step[:, 1:] == step[:, :-1]).all(axis=0)
    corners = [before[:, ~follows[:-1]], after[:, ~(follows & same_step)[1:]]]
    top = max(genuine[-1], impostors[-1])
    first = after[:, :1] if special[0] == top else np.array([[1], [0]])
    ends = np.array([[0, len(impostors)], [0, len(genuine)]])
    points = np.concatenate([*corners, first, ends], axis=1)
    _, kept = np.unique(points.sum(axis=0), return_index=True)
    return points[0, kept], points[1, kept]
