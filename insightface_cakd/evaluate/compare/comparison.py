"""Models compared with a baseline on the same pairs and resamples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from insightface_cakd.errors import EvaluationError, did_you_mean
from insightface_cakd.evaluate.pairs.bootstrap import Interval, Paired, Resamples, interval_of, paired
from insightface_cakd.evaluate.pairs.sets import tar_intervals
from insightface_cakd.evaluate.pairs.verification import VerificationResult, judge
from insightface_cakd.networks.latency import Latency


@dataclass(frozen=True)
class Cost:
    """Cost of a model: its file in 10^6 bytes, milliseconds a face."""

    runtime: str
    megabytes: float
    parameters: int
    latency: Latency


@dataclass(frozen=True)
class Difference:
    """A model's gain in accuracy over the baseline, or its mean.

    Over several sets `paired` counts the first variant of each: other variants contain the same pairs again.
    """

    gain: float
    interval: Interval
    paired: Paired

    @property
    def may_be_chance(self) -> bool:
        """Whether the interval holds 0."""
        return self.interval.low <= 0 <= self.interval.high


@dataclass(frozen=True, eq=False)
class Scored:
    """The numbers of one model by set, TAR also by FAR.

    The baseline has no differences; `difference` is over all sets.
    """

    verified: Mapping[str, VerificationResult]
    intervals: Mapping[str, Interval]
    tar_intervals: Mapping[str, Mapping[float, Interval]]
    mean_interval: Interval
    differences: Mapping[str, Difference]
    difference: Difference | None

    @property
    def accuracy(self) -> float:
        """Mean accuracy over the sets."""
        return float(np.mean([verified.accuracy for verified in self.verified.values()]))


@dataclass(frozen=True, eq=False)
class PairComparison:
    """The numbers of all models, in the order given.

    `firsts` are the sets that the paired test covers: the first variant of each set.
    """

    baseline: str
    models: Mapping[str, Scored]
    firsts: Sequence[str]

    @property
    def sets(self) -> list[str]:
        """Names of the sets."""
        return list(self.models[self.baseline].verified)

    @property
    def varied(self) -> bool:
        """Whether some sets are variants of others."""
        return len(self.firsts) < len(self.sets)

    @property
    def pairs(self) -> int:
        """Number of distinct pairs, each counted once in however many variants."""
        return sum(len(self.models[self.baseline].verified[name].same) for name in self.firsts)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Squared distances (P,) of models on the pairs of one set.

    `source` is shared by the variants of one set, which contain the same pairs; None for a set without variants. `people` (P, 2) are those
    of each pair, None where they are not known.
    """

    same: np.ndarray
    distances: Mapping[str, np.ndarray]
    source: str | None = None
    people: np.ndarray | None = None


def compare_pairs(sets: Mapping[str, Pairs], baseline: str | None = None) -> PairComparison:
    """Compare models on some sets; the first is the default baseline.

    Variants of one set share their resamples, and only the first counts in the paired test: the same pairs seen again
    are no further evidence.
    """
    if not sets:
        raise EvaluationError("compare: no verification set; expected at least one. Pass --sets FOLDER_OR_BIN.")
    names = list(next(iter(sets.values())).distances)
    chosen = choose_baseline(names, baseline)
    verified = {
        model: {name: judge(pairs.distances[model], pairs.same, f"{model} on {name}") for name, pairs in sets.items()}
        for model in names
    }
    drawn: dict[str, dict[str, np.ndarray]] = {model: {} for model in names}
    tar: dict[str, dict[str, dict[float, Interval]]] = {model: {} for model in names}
    sources = {name: name if pairs.source is None else pairs.source for name, pairs in sets.items()}
    seeds = {source: number for number, source in enumerate(dict.fromkeys(sources.values()))}
    for name, pairs in sets.items():
        resamples = Resamples.of(pairs, seed=seeds[sources[name]])
        for model in names:
            one = verified[model][name]
            drawn[model][name] = resamples.mean(one.right, one.weights)
            tar[model][name] = tar_intervals(one, resamples)
    firsts = [next(name for name in sources if sources[name] == source) for source in seeds]
    scored = {model: _scored(model, chosen, verified, drawn, tar[model], firsts) for model in names}
    return PairComparison(chosen, scored, firsts)


def choose_baseline(names: Sequence[str], baseline: str | None) -> str:
    """Return the baseline's name, by default that of the first model."""
    if baseline is not None and baseline not in names:
        raise EvaluationError(
            f"--baseline {baseline}: no such model; expected one of {', '.join(names)}.{did_you_mean(baseline, names)} "
            "Name one of them."
        )
    return baseline or names[0]


def _scored(
    model: str,
    baseline: str,
    verified: Mapping[str, Mapping[str, VerificationResult]],
    drawn: Mapping[str, Mapping[str, np.ndarray]],
    tar: Mapping[str, Mapping[float, Interval]],
    firsts: Sequence[str],
) -> Scored:
    own, other = verified[model], verified[baseline]
    intervals = {name: interval_of(values) for name, values in drawn[model].items()}
    mean = np.mean(list(drawn[model].values()), axis=0)
    if model == baseline:
        return Scored(own, intervals, tar, interval_of(mean), {}, None)
    differences = {
        name: Difference(
            own[name].accuracy - other[name].accuracy,
            interval_of(drawn[model][name] - drawn[baseline][name]),
            paired(own[name].right, other[name].right),
        )
        for name in own
    }
    whole = Difference(
        float(np.mean([one.gain for one in differences.values()])),
        interval_of(mean - np.mean(list(drawn[baseline].values()), axis=0)),
        reduce(add, (differences[name].paired for name in firsts)),
    )
    return Scored(own, intervals, tar, interval_of(mean), differences, whole)
