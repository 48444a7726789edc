"""Bootstrap intervals over pairs, and an exact test of two models."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from insightface_cakd.evaluate.pairs.verification import ROUNDING

RESAMPLES = 1000
LEVEL = 0.95
METHOD = (
    f"{100 * LEVEL:.0f} % intervals: percentile bootstrap over pairs, {RESAMPLES} resamples, same and different pairs each among "
    "themselves, the folds' thresholds held. Pairs count as independent: where people or images recur, the truth is wider."
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

    `same`, bool (P,), says whether both images show one person. Same pairs and different pairs are drawn separately, as
    many of each kind as there are. The same kinds, number and seed give the same resamples.
    """

    def __init__(self, same: np.ndarray, count: int = RESAMPLES, seed: int = 0) -> None:
        self.same = np.asarray(same, dtype=bool)
        self.counts = np.zeros((count, len(self.same)), np.uint16)
        random = np.random.default_rng(seed)
        for kind in (np.flatnonzero(self.same), np.flatnonzero(~self.same)):
            for row in self.counts:
                row[kind] = np.bincount(random.integers(0, len(kind), len(kind)), minlength=len(kind))

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
        allowed = int(len(impostors) * far + ROUNDING)
        drawn = np.cumsum(self.counts[:, impostors], axis=1, dtype=np.int32)
        limits = distances[impostors][(drawn <= allowed).sum(axis=1)]
        accepted = np.searchsorted(distances[genuine], limits, "left")
        found = np.cumsum(self.counts[:, genuine], axis=1, dtype=np.int32)
        found = np.concatenate([np.zeros((len(found), 1), np.int32), found], axis=1)
        return found[np.arange(len(found)), accepted] / len(genuine)


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
