"""Students of a comparison on the same pairs, by method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.bootstrap import METHOD, Interval, Resamples, interval_of, paired, said_p
from insightface_cakd.evaluate.pairs.sets import load_sets
from insightface_cakd.evaluate.pairs.verification import VerificationResult, judge
from insightface_cakd.experiments.distances import distances_of
from insightface_cakd.experiments.table import ALONE, TEACHER
from insightface_cakd.report.tables import Row, markdown_table
from insightface_cakd.runtime.run_folder import RunFolder

FARS = (1e-2, 1e-3)
HOW = (
    f"{METHOD} Of a gain, the seeds are held. p: McNemar's exact test against {{against}} of the same seed; of several seeds twice "
    "the median, which is valid however they depend on each other. Not corrected for several comparisons."
)

# Set -> method -> the judgement of each seed's student.
Judged = Mapping[str, Mapping[str, Sequence[VerificationResult]]]


@dataclass(frozen=True)
class Gain:
    """What a method gains over another, on one set.

    Args:
        accuracy: difference of accuracies.
        interval: of that difference, over resampled people or pairs.
        p: see `HOW`.
    """

    accuracy: float
    interval: Interval
    p: float


@dataclass(frozen=True, eq=False)
class PairTables:
    """The students of a comparison on the pairs of some sets.

    Args:
        sets: name -> pairs.
        judged: the judgement of each student, in the order of the seeds.
        against: the method that the others are compared with.
    """

    sets: Mapping[str, VerificationSet]
    judged: Judged
    against: str = ALONE

    @cached_property
    def gains(self) -> dict[str, dict[str, Gain]]:
        """Set -> method -> its gain over `against`."""
        found: dict[str, dict[str, Gain]] = {}
        for number, (name, pairs) in enumerate(self.sets.items()):
            resamples = Resamples.of(pairs, seed=number)
            base = self.judged[name][self.against]
            found[name] = {
                method: _gain(students, base, resamples)
                for method, students in self.judged[name].items()
                if method not in (self.against, TEACHER)
            }
        return found

    def rows(self, name: str) -> list[Row]:
        """Return a row for each method, on one set.

        Args:
            name: of the set.
        """
        rows: list[Row] = []
        for method, students in self.judged[name].items():
            row = {"method": method, "accuracy (std)": _percent([student.accuracy for student in students])}
            gain = self.gains[name].get(method)
            row["gain"] = "" if gain is None else f"{100 * gain.accuracy:+.2f} {gain.interval.points(signed=True)}"
            row["p"] = "" if gain is None else said_p(gain.p)
            row |= {f"TAR@{far:.0e}": _tar(students, far) for far in FARS if _supported(students, far)}
            rows.append(row)
        return rows

    def text(self) -> str:
        """Return the tables of all sets, in Markdown."""
        tables = [
            f"On `{name}`, {len(pairs.same)} pairs:\n\n{markdown_table(self.rows(name))}"
            for name, pairs in self.sets.items()
        ]
        how = HOW.format(against="the student alone" if self.against == ALONE else f"`{self.against}`")
        return "\n\n".join([*tables, how])

    def facts(self) -> dict[str, Any]:
        """Return the numbers by set and method."""
        return {
            name: {method: self._facts(name, method) for method in methods} for name, methods in self.judged.items()
        }

    def _facts(self, name: str, method: str) -> dict[str, Any]:
        students, gain = self.judged[name][method], self.gains[name].get(method)
        found: dict[str, Any] = {"accuracy": [student.accuracy for student in students]}
        found["tar_at_far"] = {f"{far:.0e}": [one.tar_at_far[far] for one in students] for far in FARS}
        if gain is not None:
            found["gain"] = {
                "accuracy": gain.accuracy,
                "interval": [gain.interval.low, gain.interval.high],
                "p": gain.p,
            }
        return found


def measure_on_pairs(
    runs: Path,
    sets: Mapping[str, VerificationSet],
    methods: Sequence[str],
    seeds: Sequence[int],
    against: str = ALONE,
) -> PairTables:
    """Measure every student of a comparison on the same pairs.

    Args:
        runs: has SEED/METHOD, each a finished run.
        sets: name -> pairs.
        methods: names of the runs of each seed.
        seeds: of the runs.
        against: the method that the others are compared with.

    Raises:
        EvaluationError: `against` is none of the methods, or one lacks a seed.
    """
    if against not in methods:
        raise EvaluationError(
            f"{runs}: {', '.join(methods)}; expected one called {against}, to compare with. Rename it."
        )
    judged: dict[str, dict[str, list[VerificationResult]]] = {name: {method: [] for method in methods} for name in sets}
    for method in methods:
        for seed in seeds:
            for name, distances in distances_of(runs / str(seed) / method, sets).items():
                judged[name][method].append(judge(distances, sets[name].same, f"{method} on {name}"))
    return PairTables(sets, judged, against)


def shared_sets(output: Path, data: Path | None, seeds: Sequence[int]) -> dict[str, VerificationSet]:
    """Return the verification sets that all seeds share, by name.

    There are none where each seed has drawn its own.

    Args:
        output: has the runs.
        data: of all runs; None where each seed has its own.
        seeds: of the runs.
    """
    measured = RunFolder(output / str(seeds[0]) / ALONE).result.accuracy
    places = [] if data is None else [data / f"{name}.bin" for name in measured]
    return load_sets([place for place in places if place.is_file()])


def _gain(students: Sequence[VerificationResult], base: Sequence[VerificationResult], resamples: Resamples) -> Gain:
    both = list(zip(students, base, strict=True))
    drawn = [resamples.mean(one.right, one.weights) - resamples.mean(other.right, other.weights) for one, other in both]
    values = [paired(one.right, other.right).p for one, other in both]
    return Gain(
        mean(one.accuracy - other.accuracy for one, other in both),
        interval_of(np.mean(drawn, axis=0)),
        min(1.0, 2 * median(values)) if len(values) > 1 else values[0],
    )


def _supported(students: Sequence[VerificationResult], far: float) -> bool:
    return all(student.tar_at_far[far] is not None for student in students)


def _tar(students: Sequence[VerificationResult], far: float) -> str:
    return _percent([student.tar_at_far[far] or 0 for student in students], 1)


def _percent(values: Sequence[float], digits: int = 2) -> str:
    spread = f" ({100 * stdev(values):.{digits}f})" if len(values) > 1 else ""
    return f"{100 * mean(values):.{digits}f}{spread}"
