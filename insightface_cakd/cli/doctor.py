"""`cakd doctor`."""

from pathlib import Path
from typing import Annotated

import typer

HELP = """Say whether a run would start: versions, devices, host, config, data, teacher; one line each.

`ok` is as it should be, `note` is worth knowing, `problem` would stop the run or let it do something else than
its config says. The exit code is 1 if there is a problem. Nothing is trained, downloaded or written.

Examples:

    cakd doctor

    cakd doctor --config faces_cnn_tiny --data data --distill cosine --teacher teacher/model.pt

    cakd doctor --host ~/insightface --config configs/ms1mv3_mbf --data /data/ms1m-retinaface-t1
"""


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("doctor", help=HELP)(_doctor)


def _doctor(
    config: Annotated[str | None, typer.Option(help="A job by name or path; with --host, one of the checkout.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with train.rec; replaces the config's rec.")] = None,
    host: Annotated[str | None, typer.Option(help="Folder of a clone of insightface, for `cakd train --host`.")] = None,
    distill: Annotated[str | None, typer.Option(help="Recipe, by name or path: look at its teacher too.")] = None,
    teacher: Annotated[str | None, typer.Option(help="As in `cakd train`: replaces the recipe's weights.")] = None,
    centres: Annotated[list[str] | None, typer.Option(help="As in `cakd train`: the teacher's class centres.")] = None,
    prototypes: Annotated[str | None, typer.Option(help="As in `cakd train`: folder of the prototypes.")] = None,
    init: Annotated[str | None, typer.Option(help="As in `cakd train`: the student's initial weights.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, overrides the config.")] = None,
    fixes: Annotated[list[str] | None, typer.Option("--fix", help="As in `cakd train`, with --host.")] = None,
    no_fixes: Annotated[list[str] | None, typer.Option("--no-fix", help="As in `cakd train`, with --host.")] = None,
) -> None:
    from insightface_cakd.doctor.examine import examine
    from insightface_cakd.recipe.settings import given
    from insightface_cakd.tasks.job import Job

    changes = given(teacher, centres or (), prototypes, init)
    job = Job(
        config,
        distill,
        changes,
        tuple(settings or ()),
        data,
        host=host,
        fixes=tuple(fixes or ()),
        no_fixes=tuple(no_fixes or ()),
    )
    problems = 0
    for finding in examine(job):
        print(finding, flush=True)
        problems += finding.kind == "problem"
    if problems:
        print(f"{problems} problem{'s' * (problems > 1)}")
        raise typer.Exit(1)
    print("no problem: a run would start" if config is not None else "no problem; --config looks at a run as well")
