"""The table of a comparison: one row a method, sorted by what it gains over the student alone."""

from dataclasses import dataclass
from statistics import mean, stdev

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
    heads = ["method", *map(str, seeds), "mean (std)", "gain (std)", "s/step"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        accuracies = [run.accuracy for run in row.runs]
        gain = (
            ""
            if row.name in (ALONE, TEACHER)
            else f"**{round(100 * mean(row.gains), 2) + 0.0:+.2f}**{_spread(row.gains)}"
        )  # no "-0.00"
        step = f"{mean(run.seconds_per_step for run in row.runs):.3f}{' (cache)' * row.runs[0].cached}"
        mid = f"{100 * mean(accuracies):.2f}{_spread(accuracies)}"
        lines.append([row.name, *(f"{100 * value:.2f}" for value in accuracies), mid, gain, step])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _spread(values: list[float] | tuple[float, ...]) -> str:
    return f" ({100 * stdev(values):.2f})" if len(values) > 1 else ""
