"""Bootstrap intervals over pairs, and an exact test of two models."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from insightface_cakd.evaluate.pairs.verification import ROUNDING

RESAMPLES = 1000
LEVEL = 0.95
METHOD = (
    f"{100 * LEVEL:.0f} % intervals: percentile bootstrap, {RESAMPLES} resamples, the folds' thresholds held. People are drawn, and their "
    "pairs with them, where a set shows someone in several pairs; otherwise pairs are, same and different ones each among themselves."
)
TEST = "p: exact McNemar test, two-sided, over the same pairs; not corrected for several comparisons."


@dataclass(frozen=True)
class Interval:
    """A percentile interval."""

    low: float
    high: float

    def __neg__(self) -> "Interval":
        return Interval(-self.high, -self.low)

    def points(self, signed: bool = False) -> str:
        """Return the interval in percent or percentage points, as `[1.00, 2.50]`."""
        sign = "+" if signed else ""
        return f"[{100 * self.low:{sign}.2f}, {100 * self.high:{sign}.2f}]"


def interval_of(values: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the interval that contains the middle share `level` of resampled values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def mean_interval(values: np.ndarray, count: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return the interval of a mean by bootstrap over its values (N,)."""
    random = np.random.default_rng(seed)
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(count)]
    return interval_of(np.array(means))


class Resamples:
    """How often each pair occurs in each bootstrap resample.

    The resamples are the same for all models, so that differences are paired. `scipy.stats.bootstrap` draws anew for
    each statistic; here one draw serves accuracy, TAR and differences of all models.

    Pairs of one person are not independent. Where a person occurs in several pairs, N of N people are drawn with replacement: a pair of
    one person drawn n times occurs n times, and a pair of two people n m times (pigeonhole bootstrap). It is conservative: what differs
    from pair to pair, not from person to person, counts up to three times in the variance of different pairs. Where nobody occurs twice,
    or it is not known who does, same and different pairs are drawn separately, as many of each kind as there are.

    Args:
        same: bool (P,), whether both images show one person.
        count: number of resamples.
        seed: of the draws; the same arguments give the same resamples.
        people: (P, 2), the people of each pair; None if they are not known.

    Source:
        Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007, doi:10.1214/07-AOAS122.
    """

    def __init__(
        self, same: np.ndarray, count: int = RESAMPLES, seed: int = 0, people: np.ndarray | None = None
    ) -> None:
        self.same = np.asarray(same, dtype=bool)
        random = np.random.default_rng(seed)
        if people is not None and _recur(people):
            self.counts = _of_people(self.same, people, count, random)
        else:
            self.counts = _of_pairs(self.same, count, random)

    @classmethod
    def of(cls, pairs: Any, count: int = RESAMPLES, seed: int = 0) -> "Resamples":
        """Return the resamples of what has `same` and `people`.

        Args:
            pairs: for example a verification set.
            count: number of resamples.
            seed: of the draws.
        """
        return cls(pairs.same, count, seed, pairs.people)

    def mean(self, values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the weighted mean of values (P,) in each resample, (resamples,)."""
        weights = np.ones(len(self.same)) if weights is None else weights
        counts = self.counts.astype(np.float64)
        return (counts @ (values * weights)) / (counts @ weights)

    def tar(self, distances: np.ndarray, far: float) -> np.ndarray:
        """Return TAR at a FAR in each resample, (resamples,), read strictly.

        The threshold is determined anew in each resample. Of distances (P,) a smaller one is more alike; there must be at
        least 1 / far different pairs.
        """
        genuine, impostors = np.flatnonzero(self.same), np.flatnonzero(~self.same)
        genuine = genuine[np.argsort(distances[genuine], kind="stable")]
        impostors = impostors[np.argsort(distances[impostors], kind="stable")]
        drawn = np.cumsum(self.counts[:, impostors], axis=1, dtype=np.int32)
        allowed = (drawn[:, -1:] * far + ROUNDING).astype(np.int32)
        limits = distances[impostors][(drawn <= allowed).sum(axis=1)]
        accepted = np.searchsorted(distances[genuine], limits, "left")
        found = np.cumsum(self.counts[:, genuine], axis=1, dtype=np.int32)
        found = np.concatenate([np.zeros((len(found), 1), np.int32), found], axis=1)
        return found[np.arange(len(found)), accepted] / found[:, -1]


def _recur(people: np.ndarray) -> bool:
    """Return whether someone is in more than one pair."""
    first, second = people.T
    in_pairs = np.concatenate([first, second[second != first]])
    return len(np.unique(in_pairs)) < len(in_pairs)


def _of_pairs(same: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return how often each pair is drawn, among its kind, (count, P)."""
    counts = np.zeros((count, len(same)), np.uint16)
    for kind in (np.flatnonzero(same), np.flatnonzero(~same)):
        for row in counts:
            row[kind] = np.bincount(random.integers(0, len(kind), len(kind)), minlength=len(kind))
    return counts


def _of_people(same: np.ndarray, people: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return how often each pair is drawn with its people, (count, P)."""
    _, numbers = np.unique(people, return_inverse=True)
    first, second = numbers.reshape(people.shape).T
    everyone = int(numbers.max()) + 1
    counts = np.zeros((count, len(same)), np.uint16)
    for row in counts:
        # A resample of one kind only has no rates; of a few people it may come.
        while not (row[same].any() and row[~same].any()):
            drawn = np.bincount(random.integers(0, everyone, everyone), minlength=everyone)
            row[:] = drawn[first] * np.where(first == second, 1, drawn[second])
    return counts


@dataclass(frozen=True)
class Paired:
    """Numbers of pairs that only one of two models judges right."""

    first_only: int
    second_only: int

    @property
    def p(self) -> float:
        """Two-sided p of the exact McNemar test; 1 without a difference.

        The null hypothesis: each model is as often the only one to be right as the other.

        Source:
            McNemar, Psychometrika 1947, doi:10.1007/BF02295996, with the binomial in place of chi squared.
        """
        total = self.first_only + self.second_only
        return float(binomtest(self.first_only, total).pvalue) if total else 1.0

    def __add__(self, other: "Paired") -> "Paired":
        return Paired(self.first_only + other.first_only, self.second_only + other.second_only)


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Count the pairs (P,) on which only one model is right."""
    return Paired(int((first & ~second).sum()), int((second & ~first).sum()))


def said_p(p: float) -> str:
    """Return a p value as text with few digits."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}" if p > 0 and math.isfinite(math.log10(p)) else "< 1e-300"
