"""Every pair of a verification set judged: right or wrong, by the threshold of its fold."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.verification import FOLDS, judge_folds, tar_at_far


@dataclass(frozen=True, eq=False)
class Judged:
    """A model's answers to the pairs of a set.

    Args:
        distances: (P,), squared, in [0, 4].
        same: bool (P,).
        thresholds: (10,), of the folds.
        accuracies: (10,), of the folds.
    """

    distances: np.ndarray
    same: np.ndarray
    thresholds: np.ndarray
    accuracies: np.ndarray

    @property
    def accuracy(self) -> float:
        """Mean over the folds."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """Population standard deviation over the folds."""
        return float(self.accuracies.std())

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each pair is judged right, bool (P,)."""
        return self.right_at(self.thresholds)

    @cached_property
    def weights(self) -> np.ndarray:
        """What each pair counts in the accuracy, (P,): a tenth of its fold's share, so that they sum to 1."""
        sizes = fold_sizes(len(self.same))
        return np.repeat(1 / (FOLDS * sizes), sizes)

    @cached_property
    def tar(self) -> dict[float, float | None]:
        """TAR at each FAR, None where the different pairs are too few."""
        return tar_at_far(self.distances, self.same)

    def right_at(self, thresholds: np.ndarray) -> np.ndarray:
        """Return whether each pair is judged right by given thresholds of the folds, bool (P,).

        Args:
            thresholds: (10,).
        """
        return (self.distances < np.repeat(thresholds, fold_sizes(len(self.same)))) == self.same


def judge(distances: np.ndarray, same: np.ndarray, where: str) -> Judged:
    """Judge pairs in ten folds, each by the threshold that is best on the other nine.

    Args:
        distances: (P,), squared, in [0, 4].
        same: bool (P,).
        where: what an error line begins with.

    Raises:
        EvaluationError: fewer than ten pairs, pairs of one kind only, or distances that are not finite.
    """
    same = np.asarray(same, dtype=bool)
    if len(same) < FOLDS or same.all() or not same.any():
        raise EvaluationError(
            f"{where}: {int(same.sum())} same and {int((~same).sum())} different pairs; expected both kinds and at least "
            f"{FOLDS} pairs, one a fold. Use a larger set."
        )
    bad = int((~np.isfinite(distances)).sum())
    if bad:
        raise EvaluationError(
            f"{where}: {bad} of {len(distances)} distances are not finite; expected numbers. Its embeddings are damaged: "
            "extract them again, in float32."
        )
    accuracies, thresholds = judge_folds(distances, same)
    return Judged(distances, same, thresholds, accuracies)


def fold_sizes(pairs: int) -> np.ndarray:
    """Return the number of pairs of each of the ten contiguous folds, the first ones one longer where they do not divide."""
    return np.array([len(fold) for fold in np.array_split(np.arange(pairs), FOLDS)])
