"""A comparison in words: rows of tables, sentences, and what JSON holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from insightface_cakd.evaluate.compare.comparison import Comparison, Difference, Scored
from insightface_cakd.evaluate.compare.latency import Latency
from insightface_cakd.evaluate.pairs.bootstrap import METHOD, TEST, said_p
from insightface_cakd.evaluate.pairs.set_tables import shown_tar, unsupported_lines, verification_facts
from insightface_cakd.evaluate.pairs.verification import FARS
from insightface_cakd.report.tables import Row


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Args:
        runtime: what ran it.
        megabytes: of its file, in 10^6 bytes.
        parameters: number of weights.
        latency: of one face on this CPU.
    """

    runtime: str
    megabytes: float
    parameters: int
    latency: Latency


def model_rows(comparison: Comparison, costs: Mapping[str, Cost]) -> list[Row]:
    """Return the table: a row a model.

    Args:
        comparison: the numbers.
        costs: by model.
    """
    rows: list[Row] = []
    for name, scored in comparison.models.items():
        row = {"model": name}
        for one in comparison.sets:
            row[one] = f"{100 * scored.verified[one].accuracy:.2f} {scored.intervals[one].points()}"
        if len(comparison.sets) > 1:
            row["mean"] = f"{100 * scored.accuracy:.2f} {scored.mean_interval.points()}"
        row |= _against(comparison, scored.difference, "p, first variant" if comparison.varied else "p")
        cost = costs[name]
        row |= {"ms": f"{cost.latency.median:.2f}", "MB": f"{cost.megabytes:.2f}"}
        row |= {"M weights": f"{cost.parameters / 1e6:.2f}", "runtime": cost.runtime}
        rows.append(row)
    return rows


def difference_rows(comparison: Comparison) -> list[Row]:
    """Return the differences of each variant by itself: a row a set and model; none where no set has variants.

    Args:
        comparison: the numbers.
    """
    return [
        {"set": one, "model": name}
        | _against(comparison, scored.differences[one], "p")
        | {
            "right alone": str(scored.differences[one].paired.first_only),
            "baseline right alone": str(scored.differences[one].paired.second_only),
        }
        for one in (comparison.sets if comparison.varied else ())
        for name, scored in comparison.models.items()
        if scored.differences
    ]


def tar_rows(comparison: Comparison) -> list[Row]:
    """Return TAR@FAR: a row a set and model, a column for each FAR that any set supports.

    Args:
        comparison: the numbers.
    """
    every = comparison.models[comparison.baseline].verified.values()
    supported = [far for far in FARS if any(verified.tar_at_far[far] is not None for verified in every)]
    return [
        {"set": one, "model": name}
        | {
            f"TAR@FAR={far:g}": shown_tar(scored.verified[one].tar_at_far[far], scored.tar_intervals[one].get(far))
            for far in supported
        }
        for one in comparison.sets
        for name, scored in comparison.models.items()
    ]


def sentences(comparison: Comparison) -> list[str]:
    """Return a line for each model but the baseline: what it gains, and whether that may be chance.

    Args:
        comparison: the numbers.
    """
    lines = []
    averaged = f", mean over {len(comparison.sets)} variants" if comparison.varied else ""
    tested = f" of {_firsts(comparison)}, not added over variants" if comparison.varied else ""
    for name, scored in comparison.models.items():
        if scored.difference is None:
            continue
        found = scored.difference
        lines.append(
            f"{name} against {comparison.baseline}, the same {comparison.pairs} pairs{averaged}: "
            f"{100 * found.gain:+.2f} points {found.interval.points(signed=True)}; right alone on "
            f"{found.paired.first_only} and {found.paired.second_only} pairs{tested}, p = {said_p(found.paired.p)}."
        )
    return lines


def methods(comparison: Comparison, costs: Mapping[str, Cost]) -> list[str]:
    """Return the sentences that say how the numbers came about, and which are missing.

    Args:
        comparison: the numbers.
        costs: by model.
    """
    rounds = min(cost.latency.rounds for cost in costs.values())
    baseline = comparison.models[comparison.baseline].verified
    variants = (
        "Variants of a set hold the same pairs: they share their resamples, and are never added up in a test. p for all sets "
        f"is of the first variant of each: {_firsts(comparison)}."
    )
    return [
        f"Accuracy in percent, ten folds. {METHOD}",
        f"Differences: paired bootstrap, the same resamples for all models. {TEST}",
        *([variants] if comparison.varied else []),
        f"ms: median of {rounds} forwards of one face on this CPU, models in turns; MB: the file.",
        *unsupported_lines(list(baseline.items())),
    ]


def comparison_facts(comparison: Comparison, costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Return the comparison as what JSON can hold.

    Args:
        comparison: the numbers.
        costs: by model.
    """
    return {
        "baseline": comparison.baseline,
        "pairs": comparison.pairs,
        "p_is_of": list(comparison.firsts),
        "models": {name: _facts(scored, costs[name]) for name, scored in comparison.models.items()},
        "methods": methods(comparison, costs),
    }


def _firsts(comparison: Comparison) -> str:
    return " and ".join(f"'{name}'" for name in comparison.firsts)


def _against(comparison: Comparison, found: Difference | None, p: str) -> dict[str, str]:
    """Return the cells of a difference, empty ones for the baseline; `p` is the title of the test's column."""
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
