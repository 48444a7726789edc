"""A comparison as a result: its tables, sentences, numbers and plots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from insightface_cakd.evaluate.compare.comparison import Cost, Difference, PairComparison, Scored
from insightface_cakd.evaluate.compare.pictures import drawings
from insightface_cakd.evaluate.pairs.bootstrap import METHOD, TEST, said_p
from insightface_cakd.evaluate.pairs.mistakes import Mistake, mistake_galleries
from insightface_cakd.evaluate.pairs.set_tables import tar_cells, unsupported_lines, verification_facts
from insightface_cakd.report.result import Drawing, Gallery, Result, Section
from insightface_cakd.report.tables import Row


@dataclass(frozen=True, eq=False)
class ModelComparison(Result):
    """What models achieve on the same pairs, and what they cost.

    `embeddings`, model -> (2P, D), are of the last set's images, for mixed enrolment; `mistakes` of each model are of the first variant of
    each set.
    """

    comparison: PairComparison
    costs: Mapping[str, Cost]
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)
    mistakes: Mapping[str, Sequence[Mistake]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Which models are better or worse than the baseline, beyond chance."""
        against = {name: one.difference for name, one in self.comparison.models.items() if one.difference is not None}
        said = [
            f"{name} {100 * found.gain:+.2f} points {found.interval.points(signed=True)}, {_words(found)}"
            for name, found in against.items()
        ]
        return f"Against {self.comparison.baseline}: {'; '.join(said)}."

    def rows(self) -> list[Row]:
        """Return one row per model."""
        rows: list[Row] = []
        for name, scored in self.comparison.models.items():
            row = {"model": name}
            for one in self.comparison.sets:
                row[one] = f"{100 * scored.verified[one].accuracy:.2f} {scored.intervals[one].points()}"
            if len(self.comparison.sets) > 1:
                row["mean"] = f"{100 * scored.accuracy:.2f} {scored.mean_interval.points()}"
            row |= _against(self.comparison, scored.difference, "p, first variant" if self.comparison.varied else "p")
            cost = self.costs[name]
            row |= {"ms": f"{cost.latency.median:.2f}", "MB": f"{cost.megabytes:.2f}"}
            row |= {"M weights": f"{cost.parameters / 1e6:.2f}", "runtime": cost.runtime}
            rows.append(row)
        return rows

    def lines(self) -> list[str]:
        """Return what each model gains, and how the numbers were obtained."""
        return [*self.sentences(), *self.methods()]

    def facts(self) -> dict[str, Any]:
        """Return the numbers of all models."""
        return {
            "baseline": self.comparison.baseline,
            "pairs": self.comparison.pairs,
            "p_is_of": list(self.comparison.firsts),
            "models": {name: _facts(scored, self.costs[name]) for name, scored in self.comparison.models.items()},
            "methods": self.methods(),
        }

    def drawings(self) -> list[Drawing]:
        """Return ROC, DET, and accuracy against cost."""
        return list(drawings(self.comparison, self.costs))

    def galleries(self) -> list[Gallery]:
        """Return the pairs that each model judges most wrongly."""
        return [one for name, found in self.mistakes.items() for one in mistake_galleries(found, name)]

    def sections(self) -> list[Section]:
        """Return models, differences by variant, and TAR@FAR."""
        differences = self.difference_rows()
        return [
            Section("Comparison", self.rows(), notes=self.sentences()),
            *([Section("Differences by variant", differences)] if differences else []),
            Section("TAR@FAR", self.tar_rows(), notes=self.methods()),
        ]

    def difference_rows(self) -> list[Row]:
        """Return one row per variant and model, none without variants."""
        return [
            {"set": one, "model": name}
            | _against(self.comparison, scored.differences[one], "p")
            | {
                "right alone": str(scored.differences[one].paired.first_only),
                "baseline right alone": str(scored.differences[one].paired.second_only),
            }
            for one in (self.comparison.sets if self.comparison.varied else ())
            for name, scored in self.comparison.models.items()
            if scored.differences
        ]

    def tar_rows(self) -> list[Row]:
        """Return TAR at each supported FAR, by set and model."""
        names = list(product(self.comparison.sets, self.comparison.models))
        scored = [(self.comparison.models[model], one) for one, model in names]
        cells = tar_cells([(numbers.verified[one], numbers.tar_intervals[one]) for numbers, one in scored])
        return [{"set": one, "model": model, **row} for (one, model), row in zip(names, cells, strict=True)]

    def sentences(self) -> list[str]:
        """Return each model's gain, and whether it may be chance."""
        lines = []
        averaged = f", mean over {len(self.comparison.sets)} variants" if self.comparison.varied else ""
        tested = f" of {_firsts(self.comparison)}, not added over variants" if self.comparison.varied else ""
        for name, scored in self.comparison.models.items():
            if scored.difference is None:
                continue
            found = scored.difference
            lines.append(
                f"{name} against {self.comparison.baseline}, the same {self.comparison.pairs} pairs{averaged}: "
                f"{100 * found.gain:+.2f} points {found.interval.points(signed=True)}; right alone on "
                f"{found.paired.first_only} and {found.paired.second_only} pairs{tested}, p = {said_p(found.paired.p)}."
            )
        return lines

    def methods(self) -> list[str]:
        """Return sentences on how numbers were obtained, and which are missing."""
        rounds = min(cost.latency.rounds for cost in self.costs.values())
        baseline = self.comparison.models[self.comparison.baseline].verified
        variants = (
            "Variants of a set hold the same pairs: they share their resamples, and are never added up in a test. p for all sets "
            f"is of the first variant of each: {_firsts(self.comparison)}."
        )
        return [
            f"Accuracy in percent, ten folds. {METHOD}",
            f"Differences: paired bootstrap, the same resamples for all models. {TEST}",
            *([variants] if self.comparison.varied else []),
            f"ms: median of {rounds} forwards of one face on this CPU, models in turns; MB: the file.",
            *unsupported_lines(list(baseline.items())),
        ]


def _words(found: Difference) -> str:
    if found.may_be_chance:
        return "may be chance"
    return "better" if found.gain > 0 else "worse"


def _firsts(comparison: PairComparison) -> str:
    return " and ".join(f"'{name}'" for name in comparison.firsts)


def _against(comparison: PairComparison, found: Difference | None, p: str) -> dict[str, str]:
    """Return the cells of a difference, empty ones for the baseline; `p` titles a column."""
    against = f"against {comparison.baseline}"
    if found is None:
        return {against: "", p: ""}
    return {against: f"{100 * found.gain:+.2f} {found.interval.points(signed=True)}", p: said_p(found.paired.p)}


def _facts(scored: Scored, cost: Cost) -> dict[str, Any]:
    return {
        "accuracy": scored.accuracy,
        "interval": [scored.mean_interval.low, scored.mean_interval.high],
        "sets": {
            name: {
                **verification_facts(verified),
                "interval": [scored.intervals[name].low, scored.intervals[name].high],
                "tar_intervals": {f"{far:g}": [one.low, one.high] for far, one in scored.tar_intervals[name].items()},
                "against_baseline": _difference_facts(scored.differences.get(name)),
            }
            for name, verified in scored.verified.items()
        },
        "against_baseline": _difference_facts(scored.difference),
        "runtime": cost.runtime,
        "megabytes": cost.megabytes,
        "parameters": cost.parameters,
        "milliseconds": vars(cost.latency),
    }


def _difference_facts(found: Difference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "gain": found.gain,
        "interval": [found.interval.low, found.interval.high],
        "right_alone": found.paired.first_only,
        "baseline_right_alone": found.paired.second_only,
        "p_mcnemar_exact": found.paired.p,
    }
