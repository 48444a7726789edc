"""What the quickstarts share: their trainings, and how they end."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from insightface_cakd.errors import RunError
from insightface_cakd.report.run_report import Report, write_report
from insightface_cakd.report.tables import markdown_table
from insightface_cakd.runtime.atomic import write_text

REPORT = "report.html"


@dataclass(frozen=True)
class Stage:
    """One training of a quickstart.

    Args:
        recipe: by name.
        text: content of a recipe that is not shipped, in place of a name.
    """

    title: str
    folder: str
    config: str
    recipe: str | None = None
    text: str | None = None

    def recipe_in(self, output: Path) -> str | None:
        """Return the recipe's name, or the file its text goes to.

        Args:
            output: folder of the quickstart.
        """
        if self.text is None:
            return self.recipe
        path = output / f"{self.folder}.yaml"
        write_text(path, self.text, RunError)
        return str(path)


def settings_of(seed: int, sets: Sequence[str], epochs: int) -> tuple[str, ...]:
    """Return the settings of a training, measured once at its end.

    Args:
        seed: of weights and order.
        sets: names of the sets that it is measured on.
        epochs: of the training.
    """
    return (f"seed={seed}", f"val_targets={list(sets)!r}", f"num_epoch={epochs}", f"verify_epochs={epochs}")


def finish(
    output: Path, report: Report, model: str, started: float, sentences: Sequence[str] = (), verdict: str | None = None
) -> None:
    """Write the report; print its table, and where everything is.

    Args:
        output: folder of the quickstart.
        report: its rows are the table that is printed.
        model: the exported file, and what it is.
        started: `time.monotonic()` at the beginning.
        sentences: printed after the table.
        verdict: the first line of the result.
    """
    write_report(output / REPORT, report)
    if verdict is not None:
        print(f"\n{verdict}")
    print(f"\n{markdown_table(report.rows)}\n")
    if sentences:
        print("\n".join(sentences) + "\n")
    print(f"model:  {model}")
    print(f"report: {output / REPORT}")
    print(f"{time.monotonic() - started:.0f} seconds")
