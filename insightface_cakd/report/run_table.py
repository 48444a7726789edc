"""All runs below a folder in one table."""

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from insightface_cakd.data.folders import natural_key
from insightface_cakd.errors import RunError
from insightface_cakd.report.tables import plain_table
from insightface_cakd.runtime.atomic import write_text
from insightface_cakd.runtime.run_folder import RUN, RunFolder

CONFIG = ("network", "num_epoch", "batch_size", "lr", "seed")
FIRST = ("run", *CONFIG, "recipe", "teacher")
OF_TEACHER, SECONDS = "teacher ", "seconds"


@dataclass(frozen=True)
class RunTable:
    """The runs of a folder.

    Args:
        folder: they are named relative to it.
        runs: in natural order.
        unreadable: an error line for each whose files are damaged.
    """

    folder: Path
    runs: tuple[RunFolder, ...]
    unreadable: tuple[str, ...] = ()

    @cached_property
    def facts(self) -> list[dict[str, Any]]:
        """A run's values by column; one that a run lacks is missing."""
        return [self._facts(run) for run in self.runs]

    @property
    def columns(self) -> list[str]:
        """Settings, recipe and teacher, accuracies, those of teachers, seconds."""
        found = dict.fromkeys(key for row in self.facts for key in row)
        measured = [key for key in found if key not in (*FIRST, SECONDS)]
        of_teachers = [key for key in measured if key.startswith(OF_TEACHER)]
        students = [key for key in measured if key not in of_teachers]
        return [*(key for key in FIRST if key in found), *students, *of_teachers, *[SECONDS] * (SECONDS in found)]

    def text(self) -> str:
        """Return the table, and the lines of runs left out.

        Accuracies are in percent.
        """
        table = plain_table([{key: _cell(key, row.get(key)) for key in self.columns} for row in self.facts])
        return "\n".join([table, *(f"left out: {line}" for line in self.unreadable)])

    def write_csv(self, path: Path) -> None:
        """Write the values, not rounded; accuracies in [0, 1]."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.facts)
        write_text(path, text.getvalue(), RunError)

    def _facts(self, run: RunFolder) -> dict[str, Any]:
        place = run.path.relative_to(self.folder).as_posix()
        facts: dict[str, Any] = {"run": run.path.resolve().name if place == "." else place}
        facts |= {key: run.config[key] for key in CONFIG if key in run.config}
        facts["recipe"] = run.saved.recipe_name or ""
        if run.teacher is not None:
            facts["teacher"] = run.teacher.name
            facts |= {f"{OF_TEACHER}{name}": value for name, value in run.teacher.sets.items()}
        facts |= run.result.accuracy
        if run.result.seconds is not None:
            facts[SECONDS] = run.result.seconds
        return facts


def find_runs(folder: Path) -> RunTable:
    """Find all finished runs in a folder and below it.

    Raises:
        RunError: no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; expected one with runs of `cakd train` in it. Correct the path.")
    runs, unreadable = list[RunFolder](), list[str]()
    for path in sorted(folder.rglob(RUN), key=natural_key):
        run = RunFolder(path.parent)
        try:
            _ = run.saved, run.result
        except RunError as error:
            unreadable.append(str(error))
            continue
        runs.append(run)
    if not runs:
        why = f" ({unreadable[0]})" if unreadable else ""
        raise RunError(
            f"{folder}: no {RUN} in it or below it that can be read{why}; expected finished runs of `cakd train`. Correct it."
        )
    return RunTable(folder, tuple(runs), tuple(unreadable))


def _cell(key: str, value: Any) -> str:
    if not isinstance(value, float):
        return "" if value is None else str(value)
    if key == SECONDS:
        return f"{value:.0f}"
    return f"{value:g}" if key in CONFIG else f"{100 * value:.2f} %"
