"""`cakd runs`."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("runs")(_runs)


def _runs(
    folder: Annotated[Path, typer.Argument(help="Folder with output folders of `cakd train` in it, at any depth.")],
    csv: Annotated[Path | None, typer.Option("--csv", help="Where the table goes as CSV; FOLDER/results.csv.")] = None,
) -> None:
    """Show all runs below a folder in one table.

    Network, settings, recipe, teacher and accuracies, from run.json and result.json; the same numbers, not rounded, as CSV.

    Example: `cakd runs work_dirs`
    """
    from insightface_cakd.report.run_table import find_runs

    table, path = find_runs(folder), csv or folder / "results.csv"
    print(table.text())
    table.write_csv(path)
    print(f"table: {path}")
