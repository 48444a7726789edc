"""The numbers of verification sets as rows of a table, sentences and what JSON holds."""

from collections.abc import Sequence
from typing import Any

from insightface_cakd.evaluate.pairs.bootstrap import Interval
from insightface_cakd.evaluate.pairs.judged import Judged
from insightface_cakd.evaluate.pairs.sets import SetResult
from insightface_cakd.evaluate.pairs.variants import PLAIN
from insightface_cakd.evaluate.pairs.verification import FARS
from insightface_cakd.report.run_report import Row


def set_rows(results: Sequence[SetResult]) -> list[Row]:
    """Return the table: a row a set and variant, a column for each FAR that any set supports."""
    supported = [far for far in FARS if any(result.judged.tar[far] is not None for result in results)]
    with_variants = any(result.variant != PLAIN for result in results)
    rows: list[Row] = []
    for result in results:
        judged = result.judged
        row = {"set": result.name, **({"variant": result.variant} if with_variants else {})}
        row |= {"pairs": str(len(judged.same)), "accuracy": f"{100 * judged.accuracy:.2f} %"}
        row |= {"95 %": result.interval.points(), "fold std": f"{100 * judged.std:.2f}", "XNorm": f"{result.xnorm:.2f}"}
        row |= {f"TAR@FAR={far:g}": shown_tar(judged.tar[far], result.tar_intervals.get(far)) for far in supported}
        rows.append(row)
    return rows


def shown_tar(tar: float | None, interval: Interval | None) -> str:
    """Return a cell: TAR in percent with its interval, or a dash."""
    return "-" if tar is None or interval is None else f"{100 * tar:.2f} {interval.points()}"


def unsupported_lines(sets: Sequence[tuple[str, Judged]]) -> list[str]:
    """Return a sentence for each set whose different pairs do not support all FARs.

    Args:
        sets: name and pairs; a name's first counts.
    """
    lines = []
    for name, judged in dict(reversed(sets)).items():
        missing = [f"{far:g}" for far, tar in judged.tar.items() if tar is None]
        different = int((~judged.same).sum())
        if missing:
            lines.append(
                f"{name}: not measured at FAR={', '.join(missing)}: {different} impostor pairs support no FAR below "
                f"{1 / different:.2g}."
            )
    return lines[::-1]


def set_facts(result: SetResult) -> dict[str, Any]:
    """Return a result as what JSON can hold."""
    judged = result.judged
    return {
        "set": result.name,
        "variant": result.variant,
        "xnorm": result.xnorm,
        **judged_facts(judged),
        "interval": [result.interval.low, result.interval.high],
        "tar_intervals": {f"{far:g}": [one.low, one.high] for far, one in result.tar_intervals.items()},
    }


def judged_facts(judged: Judged) -> dict[str, Any]:
    """Return judged pairs as what JSON can hold."""
    return {
        "same": int(judged.same.sum()),
        "different": int((~judged.same).sum()),
        "accuracy": judged.accuracy,
        "std": judged.std,
        "folds": judged.accuracies.tolist(),
        "thresholds": judged.thresholds.tolist(),
        "tar_at_far": {f"{far:g}": tar for far, tar in judged.tar.items()},
    }
