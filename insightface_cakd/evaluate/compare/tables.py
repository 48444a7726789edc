"""A comparison in words: rows of tables, sentences, and what JSON holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from insightface_cakd.evaluate.bootstrap import METHOD, TEST, said_p
from insightface_cakd.evaluate.compare.comparison import Comparison, Scored
from insightface_cakd.evaluate.compare.latency import Latency
from insightface_cakd.evaluate.report import Row
from insightface_cakd.evaluate.set_tables import judged_facts, shown_tar, unsupported_lines
from insightface_cakd.evaluate.verification import FARS


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
            row[one] = f"{100 * scored.judged[one].accuracy:.2f} {scored.intervals[one].points()}"
        if len(comparison.sets) > 1:
            row["mean"] = f"{100 * scored.accuracy:.2f} {scored.mean_interval.points()}"
        row |= _against(scored, comparison.baseline)
        cost = costs[name]
        row |= {"ms": f"{cost.latency.median:.2f}", "MB": f"{cost.megabytes:.2f}"}
        row |= {"M weights": f"{cost.parameters / 1e6:.2f}", "runtime": cost.runtime}
        rows.append(row)
    return rows


def tar_rows(comparison: Comparison) -> list[Row]:
    """Return TAR@FAR: a row a set and model, a column for each FAR that any set supports.

    Args:
        comparison: the numbers.
    """
    every = comparison.models[comparison.baseline].judged.values()
    supported = [far for far in FARS if any(judged.tar[far] is not None for judged in every)]
    return [
        {"set": one, "model": name}
        | {
            f"TAR@FAR={far:g}": shown_tar(scored.judged[one].tar[far], scored.tar_intervals[one].get(far))
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
    for name, scored in comparison.models.items():
        if scored.difference is None:
            continue
        found, pairs = scored.difference, sum(len(judged.same) for judged in scored.judged.values())
        lines.append(
            f"{name} against {comparison.baseline}, the same {pairs} pairs: {100 * found.gain:+.2f} points "
            f"{found.interval.points(signed=True)}; right alone on {found.paired.first_only} and "
            f"{found.paired.second_only} pairs, p = {said_p(found.paired.p)}."
        )
    return lines


def methods(comparison: Comparison, costs: Mapping[str, Cost]) -> list[str]:
    """Return the sentences that say how the numbers came about, and which are missing.

    Args:
        comparison: the numbers.
        costs: by model.
    """
    rounds = min(cost.latency.rounds for cost in costs.values())
    baseline = comparison.models[comparison.baseline].judged
    return [
        f"Accuracy in percent, ten folds. {METHOD}",
        f"Differences: paired bootstrap, the same resamples for all models. {TEST}",
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
        "models": {name: _facts(scored, costs[name]) for name, scored in comparison.models.items()},
        "methods": methods(comparison, costs),
    }


def _against(scored: Scored, baseline: str) -> Row:
    found = scored.difference
    if found is None:
        return {f"against {baseline}": "", "p": ""}
    return {
        f"against {baseline}": f"{100 * found.gain:+.2f} {found.interval.points(signed=True)}",
        "p": said_p(found.paired.p),
    }


def _facts(scored: Scored, cost: Cost) -> dict[str, Any]:
    found = scored.difference
    return {
        "accuracy": scored.accuracy,
        "interval": [scored.mean_interval.low, scored.mean_interval.high],
        "sets": {
            name: {
                **judged_facts(judged),
                "interval": [scored.intervals[name].low, scored.intervals[name].high],
                "tar_intervals": {f"{far:g}": [one.low, one.high] for far, one in scored.tar_intervals[name].items()},
            }
            for name, judged in scored.judged.items()
        },
        "against_baseline": None
        if found is None
        else {
            "gain": found.gain,
            "interval": [found.interval.low, found.interval.high],
            "right_alone": found.paired.first_only,
            "baseline_right_alone": found.paired.second_only,
            "p_mcnemar_exact": found.paired.p,
        },
        "runtime": cost.runtime,
        "megabytes": cost.megabytes,
        "parameters": cost.parameters,
        "milliseconds": vars(cost.latency),
    }
