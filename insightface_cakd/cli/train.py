"""`cakd quickstart`, `cakd train` and `cakd bench`."""

from pathlib import Path
from typing import Annotated

import typer

from insightface_cakd.cli import options

QUICKSTART_HELP = """Watch a teacher teach a small network, end to end.

Makes data, trains a teacher, a student alone and a student with distillation, prints a table, exports to ONNX and
writes a report. Without --data, faces are drawn.
A --teacher (an .onnx, a run, a pack's folder, or a pack that insightface has by its name, such as buffalo_l) is
measured and not trained. The output folder must be new or empty, or of the same command that did not end, which then
goes on.

Tasks: identification; landmarks; liveness; lowres, small faces; periocular, eye strips; synthetic, a student from
generated faces only.
"""

TRAIN_HELP = """Train a network, with `--distill` under a teacher.

On the embedded host or, with `--host`, on a checkout's own loop.

Examples:

    cakd train faces_vit_tiny --data data --output teacher

    cakd train faces_cnn_tiny --data data --distill cosine --teacher teacher/model.pt --output student

    torchrun --nproc_per_node 8 -m insightface_cakd train my_config.py --distill onnx --teacher w600k_r50.onnx

    cakd train configs/ms1mv3_mbf --host ~/insightface --distill onnx --teacher w600k_r50.onnx
"""


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("quickstart", help=QUICKSTART_HELP)(_quickstart)
    app.command("train", help=TRAIN_HELP)(_train)
    app.command("bench")(_bench)


def _quickstart(
    output: options.Output = Path("quickstart"),
    data: options.Data = None,
    teacher: options.Teacher = None,
    task: Annotated[str, typer.Option("--task", help="What is learnt; see below.")] = "identification",
    seed: options.Seed = 2048,
) -> None:
    from insightface_cakd.quickstart.known import run_quickstart

    run_quickstart(task, output, data, seed, teacher)


def _train(
    config: Annotated[str, typer.Argument(help="A job by name or the path of a config file.")],
    distill: options.Distill = None,
    teacher: options.Teacher = None,
    centres: options.Centres = None,
    prototypes: options.Prototypes = None,
    init: options.Init = None,
    recipe_settings: options.RecipeSettings = None,
    output: Annotated[Path | None, options.OUTPUT] = None,
    data: options.Data = None,
    settings: options.Settings = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the output folder.")
    ] = False,
    auto_resume: Annotated[
        bool,
        typer.Option("--auto-resume", help="The same if there is one, else begin: for jobs that are started again."),
    ] = False,
    host: options.Host = None,
    fixes: options.Fixes = None,
    no_fixes: options.NoFixes = None,
) -> None:
    from insightface_cakd.recipe.settings import given
    from insightface_cakd.runtime.ranks import is_first_process
    from insightface_cakd.tasks.job import Job
    from insightface_cakd.tasks.launch import run
    from insightface_cakd.tasks.telling import ending

    changes = given(teacher, centres, prototypes, init, recipe_settings)
    hosted = (host, fixes or (), no_fixes or ())
    job = Job(config, distill, changes, settings or (), data, output, resume, *hosted, auto_resume)
    finished = run(job)
    if is_first_process():
        print("\n".join(ending(*finished)))


def _bench(
    distill: Annotated[str, options.DISTILL] = "cosine",
    network: Annotated[str, options.NETWORK] = "mbf",
    recipe_settings: options.RecipeSettings = None,
    batch_size: options.BatchSize = 32,
    steps: Annotated[int, typer.Option(min=3, help="Timed steps of each kind.")] = 10,
    training_precision: options.TrainingPrecision = "fp32",
    data: options.Data = None,
    json: options.Json = None,
) -> None:
    """Time a recipe's step and its parts; measure peak memory.

    The parts are the student alone and the teacher. With --data, the reading of its train.rec is timed too. Weights are
    random. Another teacher: `cakd bench --recipe-set teacher.network=vit_s`.
    """
    from insightface_cakd.experiments.cost import bench
    from insightface_cakd.runtime.atomic import write_json

    found = bench(distill, network, recipe_settings or (), batch_size, steps, training_precision, data)
    print(found.text())
    if json is not None:
        write_json(json, found.facts())
