"""`cakd doctor`."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("doctor")(_doctor)


def _doctor(
    config: Annotated[str | None, typer.Option(help="A job by name or path, to check with its data.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with train.rec; replaces the config's rec.")] = None,
) -> None:
    """Say what is installed and whether a run would start; exit code 1 if it would not."""
    from insightface_cakd.doctor import examine

    findings = []
    for finding in examine(config, data):
        print(finding)
        findings.append(finding)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)
