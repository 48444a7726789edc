"""`cakd quickstart`, `cakd train` and `cakd bench`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Precision = Literal["fp32", "bf16", "fp16"]

TRAIN_HELP = """Train a network, with `--distill` under a teacher.

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
    output: Annotated[Path, typer.Option(help="Folder of everything the run writes; must be new or empty.")] = Path(
        "quickstart"
    ),
    data: Annotated[
        Path | None, typer.Option(help="Aligned 112x112 faces, one folder per person, instead of drawn ones.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the faces, the weights and the order of the images.")] = 2048,
) -> None:
    """Watch a Transformer teach a CNN: data, teacher, student alone, student + distillation, table, ONNX, report."""
    from insightface_cakd.quickstart import quickstart

    quickstart(output, data, seed)


def _train(
    config: Annotated[str, typer.Argument(help="A job by name or the path of a config file.")],
    distill: Annotated[str | None, typer.Option(help="Recipe, by name (`cakd recipes list`) or path.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Teacher's weights, ONNX file or cache; replaces the recipe's.")
    ] = None,
    centres: Annotated[
        list[str] | None, typer.Option(help="Files with the teacher's class centres, in rank order.")
    ] = None,
    prototypes: Annotated[
        str | None, typer.Option(help="Folder of `cakd data prototypes`; replaces the recipe's.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Weights that the student starts from, model.pt of an earlier run; with --distill."),
    ] = None,
    recipe_settings: Annotated[
        list[str] | None,
        typer.Option("--recipe-set", help="KEY=VALUE, overrides the recipe: losses.cosine.weight=32."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the run; replaces the config's.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with train.rec; replaces the config's rec.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, overrides the config.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the output folder.")
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(help="Folder of a clone of insightface: run its own arcface_torch instead of the embedded host."),
    ] = None,
    fixes: Annotated[
        list[str] | None,
        typer.Option("--fix", help="With --host: a fix that changes results, by name; see `cakd doctor`."),
    ] = None,
    no_fixes: Annotated[list[str] | None, typer.Option("--no-fix", help="With --host: a fix to leave out.")] = None,
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
    distill: Annotated[str, typer.Option(help="Recipe, by name (`cakd recipes list`) or path.")] = "cosine",
    student: Annotated[str, typer.Option(help="Network of the student.")] = "mbf",
    teacher: Annotated[
        str | None, typer.Option(help="Network of the teacher, random weights; replaces the recipe's.")
    ] = None,
    batch: Annotated[int, typer.Option(min=2, help="Images a step.")] = 32,
    steps: Annotated[int, typer.Option(min=3, help="Timed steps of each kind.")] = 10,
    precision: Annotated[Precision, typer.Option(help="Of the student; fp16 on CUDA only.")] = "fp32",
    records: Annotated[Path | None, typer.Option(help="Also time reading this folder's train.rec.")] = None,
) -> None:
    """Time a recipe's step beside its parts (student alone, teacher) and their peak memory; and record reading."""
    from insightface_cakd.experiments.cost import bench

    print(bench(distill, student, teacher, batch, steps, precision, records))
