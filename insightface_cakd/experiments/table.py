"""The table of a comparison, with one row per method."""

from dataclasses import dataclass
from statistics import mean, stdev

from insightface_cakd.report.tables import markdown_table
from insightface_cakd.report.teaching import distilled_below

ALONE, TEACHER = "alone", "teacher"


@dataclass(frozen=True)
class Run:
    """One finished run.

    Args:
        accuracy: mean accuracy over the verification sets at the end, in [0, 1].
        seconds_per_step: seconds of the whole run, verification included, divided by its steps.
        teacher: mean accuracy of its teacher over the verification sets, in [0, 1]; None where it was not measured.
    """

    accuracy: float
    seconds_per_step: float
    cached: bool = False
    teacher: float | None = None


@dataclass(frozen=True)
class Row:
    """The runs of one method over all seeds.

    Args:
        runs: one run per seed.
        gains: for each seed, accuracy minus that of the student trained alone.
    """

    name: str
    runs: tuple[Run, ...]
    gains: tuple[float, ...]


def rank(results: dict[str, list[Run]]) -> list[Row]:
    """Return one row per method: the teacher first, then by mean gain.

    The gain is over the student trained alone with the same seed.

    Args:
        results: method -> its runs in the order of the seeds; `alone` is one of the methods.
    """
    alone = [run.accuracy for run in results[ALONE]]
    rows = [
        Row(name, tuple(runs), tuple(run.accuracy - base for run, base in zip(runs, alone, strict=True)))
        for name, runs in results.items()
    ]
    return sorted(rows, key=lambda row: (row.name != TEACHER, -mean(row.gains)))


def remarks(rows: list[Row]) -> list[str]:
    """Return a line for each recipe below the student alone.

    In the mean of the seeds; the line says what to do.
    """
    alone = mean(run.accuracy for row in rows if row.name == ALONE for run in row.runs)
    trained = [run.accuracy for row in rows if row.name == TEACHER for run in row.runs]
    lines = []
    for row in rows:
        found = trained or [run.teacher for run in row.runs if run.teacher is not None]
        taught = row.name not in (ALONE, TEACHER)
        line = distilled_below(row.name, mean(row.gains), mean(found) if found else None, alone) if taught else None
        lines += [] if line is None else [line]
    return lines


def table(rows: list[Row], seeds: tuple[int, ...]) -> str:
    """Return the comparison as a Markdown table.

    Its columns: accuracy in % for each seed, their mean and standard deviation, mean and standard deviation of the gain,
    and seconds per step.
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
