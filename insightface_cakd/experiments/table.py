"""The table of a comparison: one row a method, sorted by what it gains over the student alone."""

from dataclasses import dataclass
from statistics import mean, stdev

from insightface_cakd.report.tables import markdown_table

ALONE, TEACHER = "alone", "teacher"


@dataclass(frozen=True)
class Run:
    """One finished run.

    Args:
        accuracy: mean over the verification sets, at the end.
        seconds_per_step: of the whole run, verification included.
        cached: whether the teacher's answers came from a cache.
    """

    accuracy: float
    seconds_per_step: float
    cached: bool = False


@dataclass(frozen=True)
class Row:
    """A method over all seeds.

    Args:
        name: of the recipe, `alone` or `teacher`.
        runs: one for each seed.
        gains: accuracy minus that of the student alone of the same seed.
    """

    name: str
    runs: tuple[Run, ...]
    gains: tuple[float, ...]


def rank(results: dict[str, list[Run]]) -> list[Row]:
    """Return one row a method: the teacher first, then by mean gain over the student alone of the same seed.

    Args:
        results: runs of each method in the order of the seeds, `alone` among them.
    """
    alone = [run.accuracy for run in results[ALONE]]
    rows = [
        Row(name, tuple(runs), tuple(run.accuracy - base for run, base in zip(runs, alone, strict=True)))
        for name, runs in results.items()
    ]
    return sorted(rows, key=lambda row: (row.name != TEACHER, -mean(row.gains)))


def table(rows: list[Row], seeds: tuple[int, ...]) -> str:
    """Return the Markdown table: accuracies of each seed, their mean and spread, the gain and its spread, seconds a step.

    Args:
        rows: of `rank`.
        seeds: in the order of the runs.
    """
    return markdown_table([_cells(row, seeds) for row in rows])


def _cells(row: Row, seeds: tuple[int, ...]) -> dict[str, str]:
    accuracies = [run.accuracy for run in row.runs]
    cells = {"method": row.name}
    cells |= {str(seed): f"{100 * value:.2f}" for seed, value in zip(seeds, accuracies, strict=True)}
    cells["mean (std)"] = f"{100 * mean(accuracies):.2f}{_spread(accuracies)}"
    compared = row.name not in (ALONE, TEACHER)
    gain = round(100 * mean(row.gains), 2) + 0.0  # no "-0.00"
    cells["gain (std)"] = f"**{gain:+.2f}**{_spread(row.gains)}" if compared else ""
    cells["s/step"] = f"{mean(run.seconds_per_step for run in row.runs):.3f}{' (cache)' * row.runs[0].cached}"
    return cells


def _spread(values: list[float] | tuple[float, ...]) -> str:
    return f" ({100 * stdev(values):.2f})" if len(values) > 1 else ""
