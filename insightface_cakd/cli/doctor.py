"""`cakd doctor`."""

from typing import Annotated

import typer

from insightface_cakd.cli import options

HELP = """Say whether a run would start, and what is wrong.

It takes the run's own steps in their order, up to the loss of two images; one line each.

`ok` is as it should be, `note` is worth knowing, `problem` would stop the run or let it do something else than
its config says. The exit code is 1 if there is a problem. Nothing is trained, downloaded or written. A teacher is
measured on at most 600 pairs of each verification set of the config, on the first one as RGB and as BGR.

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
    data: options.Data = None,
    host: options.Host = None,
    distill: options.Distill = None,
    teacher: options.Teacher = None,
    centres: options.Centres = None,
    prototypes: options.Prototypes = None,
    init: options.Init = None,
    recipe_settings: options.RecipeSettings = None,
    settings: options.Settings = None,
    fixes: options.Fixes = None,
    no_fixes: options.NoFixes = None,
) -> None:
    from insightface_cakd.doctor.examine import examine
    from insightface_cakd.recipe.settings import given
    from insightface_cakd.tasks.job import Job

    changes = given(teacher, centres, prototypes, init, recipe_settings)
    job = Job(config, distill, changes, settings or (), data, None, False, host, fixes or (), no_fixes or ())
    problems = 0
    for finding in examine(job):
        print(finding, flush=True)
        problems += finding.kind == "problem"
    if problems:
        print(f"{problems} problem{'s' * (problems > 1)}")
        raise typer.Exit(1)
    print("no problem: a run would start" if config is not None else "no problem; --config looks at a run as well")
