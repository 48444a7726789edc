"""Models compared on the same pairs: intervals from shared resamples, differences and their test against a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from insightface_cakd.errors import EvaluationError, did_you_mean
from insightface_cakd.evaluate.bootstrap import Interval, Paired, Resamples, interval_of, paired
from insightface_cakd.evaluate.judged import Judged, judge
from insightface_cakd.evaluate.sets import tar_intervals


@dataclass(frozen=True)
class Difference:
    """A model against the baseline.

    Args:
        gain: accuracy minus the baseline's, mean over the sets.
        interval: of it, by paired bootstrap.
        paired: pairs of all sets on which one of both alone is right.
    """

    gain: float
    interval: Interval
    paired: Paired


@dataclass(frozen=True, eq=False)
class Scored:
    """A model's numbers.

    Args:
        judged: set -> its pairs.
        intervals: set -> of the accuracy.
        tar_intervals: set -> FAR -> of TAR.
        mean_interval: of the mean accuracy over the sets.
        difference: None for the baseline itself.
    """

    judged: Mapping[str, Judged]
    intervals: Mapping[str, Interval]
    tar_intervals: Mapping[str, Mapping[float, Interval]]
    mean_interval: Interval
    difference: Difference | None

    @property
    def accuracy(self) -> float:
        """Mean accuracy over the sets."""
        return float(np.mean([judged.accuracy for judged in self.judged.values()]))


@dataclass(frozen=True, eq=False)
class Comparison:
    """All models.

    Args:
        baseline: name of the model that the others are compared with.
        models: by name, in the order in which they were given.
    """

    baseline: str
    models: Mapping[str, Scored]

    @property
    def sets(self) -> list[str]:
        """Names of the sets."""
        return list(self.models[self.baseline].judged)


@dataclass(frozen=True, eq=False)
class Pairs:
    """What models say of one set.

    Args:
        same: bool (P,).
        distances: model -> squared distances (P,).
    """

    same: np.ndarray
    distances: Mapping[str, np.ndarray]


def compare(sets: Mapping[str, Pairs], baseline: str | None = None) -> Comparison:
    """Compare models on some sets.

    Args:
        sets: name -> what the models, the same in each, say of it.
        baseline: a model's name, the first when not given.

    Raises:
        EvaluationError: no set, an unknown baseline, distances that are not finite, or pairs that cannot be judged.
    """
    if not sets:
        raise EvaluationError("compare: no verification set; expected at least one. Pass --sets FOLDER_OR_BIN.")
    names = list(next(iter(sets.values())).distances)
    chosen = choose_baseline(names, baseline)
    judged = {
        model: {name: judge(pairs.distances[model], pairs.same, f"{model} on {name}") for name, pairs in sets.items()}
        for model in names
    }
    drawn: dict[str, dict[str, np.ndarray]] = {model: {} for model in names}
    tar: dict[str, dict[str, dict[float, Interval]]] = {model: {} for model in names}
    for number, (name, pairs) in enumerate(sets.items()):
        resamples = Resamples(pairs.same, seed=number)
        for model in names:
            one = judged[model][name]
            drawn[model][name] = resamples.mean(one.right, one.weights)
            tar[model][name] = tar_intervals(one, resamples)
    return Comparison(chosen, {model: _scored(model, chosen, judged, drawn, tar[model]) for model in names})


def choose_baseline(names: Sequence[str], baseline: str | None) -> str:
    """Return the baseline's name: the first where none is given.

    Args:
        names: of the models.
        baseline: as the user wrote it.

    Raises:
        EvaluationError: no model has that name.
    """
    if baseline is not None and baseline not in names:
        raise EvaluationError(
            f"--baseline {baseline}: no such model; expected one of {', '.join(names)}.{did_you_mean(baseline, names)} "
            "Name one of them."
        )
    return baseline or names[0]


def _scored(
    model: str,
    baseline: str,
    judged: Mapping[str, Mapping[str, Judged]],
    drawn: Mapping[str, Mapping[str, np.ndarray]],
    tar: Mapping[str, Mapping[float, Interval]],
) -> Scored:
    """Return a model's numbers from the judged pairs and the resampled accuracies of all."""
    own, other = judged[model], judged[baseline]
    intervals = {name: interval_of(values) for name, values in drawn[model].items()}
    mean = np.mean(list(drawn[model].values()), axis=0)
    difference = None
    if model != baseline:
        gain = float(np.mean([own[name].accuracy - other[name].accuracy for name in own]))
        spread = interval_of(mean - np.mean(list(drawn[baseline].values()), axis=0))
        alone = reduce(add, (paired(own[name].right, other[name].right) for name in own))
        difference = Difference(gain, spread, alone)
    return Scored(own, intervals, tar, interval_of(mean), difference)
