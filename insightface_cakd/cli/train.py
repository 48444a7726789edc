"""`cakd quickstart`, `cakd train` and `cakd bench`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from insightface_cakd.cli.options import (
    DISTILL,
    NETWORK,
    OUTPUT,
    Centres,
    Data,
    Distill,
    Fixes,
    Host,
    Init,
    NoFixes,
    Output,
    Prototypes,
    RecipeSettings,
    Seed,
    Settings,
    Teacher,
)

Precision = Literal["fp32", "bf16", "fp16"]

TRAIN_HELP = """Train a network, with `--distill` under a teacher, on the embedded host or, with `--host`, on a checkout's own loop.

Examples:

    cakd train faces_vit_tiny --set rec=data --output teacher
    cakd train faces_cnn_tiny --set rec=data --distill cosine --teacher teacher/model.pt --output student
    torchrun --nproc_per_node 8 -m insightface_cakd train my_config.py --distill onnx --teacher w600k_r50.onnx
    cakd train configs/ms1mv3_mbf --host ~/insightface --distill onnx --teacher w600k_r50.onnx
"""


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("quickstart")(_quickstart)
    app.command("train", help=TRAIN_HELP.replace("\n    cakd", "\n\n`cakd").replace("\n    torchrun", "\n\n`torchrun"))(
        _train
    )
    app.command("bench")(_bench)


def _quickstart(
    output: Output = Path("quickstart"),
    data: Data = None,
    seed: Seed = 2048,
) -> None:
    """Watch a Transformer teach a CNN: data, teacher, student alone, student + distillation, table, ONNX, report.

    Faces are drawn where --data names no folder of people. The output's folder must be new or empty.
    """
    from insightface_cakd.quickstart import quickstart

    quickstart(output, data, seed)


def _train(
    config: Annotated[str, typer.Argument(help="A job by name or the path of a config file.")],
    distill: Distill = None,
    teacher: Teacher = None,
    centres: Centres = None,
    prototypes: Prototypes = None,
    init: Init = None,
    recipe_settings: RecipeSettings = None,
    output: Annotated[Path | None, OUTPUT] = None,
    data: Data = None,
    settings: Settings = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the output folder.")
    ] = False,
    host: Host = None,
    fixes: Fixes = None,
    no_fixes: NoFixes = None,
) -> None:
    from insightface_cakd.recipe.settings import given
    from insightface_cakd.tasks.job import Job
    from insightface_cakd.tasks.launch import train

    changes = (*given(teacher, centres or (), prototypes, init), *(recipe_settings or ()))
    overrides, on, off = (tuple(some or ()) for some in (settings, fixes, no_fixes))
    result = train(Job(config, distill, changes, overrides, data, output, resume, host, on, off))
    for name, accuracy in result.accuracy.items():
        print(f"{name}: {accuracy:.4f}")


def _bench(
    distill: Annotated[str, DISTILL] = "cosine",
    network: Annotated[str, NETWORK] = "mbf",
    recipe_settings: RecipeSettings = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.")] = 32,
    steps: Annotated[int, typer.Option(min=3, help="Timed steps of each kind.")] = 10,
    training_precision: Annotated[Precision, typer.Option(help="Of the student; fp16 on CUDA only.")] = "fp32",
    data: Data = None,
) -> None:
    """Time a recipe's step beside its parts (student alone, teacher) and their peak memory; with --data, reading its train.rec too.

    Weights are random. Another teacher: `cakd bench --recipe-set teacher.network=vit_s`.
    """
    from insightface_cakd.experiments.cost import bench

    print(bench(distill, network, recipe_settings or (), batch_size, steps, training_precision, data))
