"""`cakd cost`."""

from pathlib import Path
from typing import Annotated

import typer

from insightface_cakd.cli import options

HELP = """Predict what a recipe's step costs on GPUs, without one.

A step of the given networks runs on tensors without data: floating-point operations, bytes that a rank sends and its peak memory are
counted, and the time follows from the data sheet of the GPU. Teachers are networks by name with random weights. --hardware cpu predicts
this machine.

Example:

    cakd cost --hardware h100 --ranks 8 --distill cakd --network r50 --recipe-set teacher.network=vit_l_dp005_mask_005
"""
# Of MS1MV3, Glint360K and WebFace42M, and what is to come.
CLASSES = (93_431, 360_232, 2_059_906, 10_000_000)
SAMPLE_RATES = (1.0, 0.1)


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("cost", help=HELP)(_cost)


def _cost(
    device: Annotated[str, typer.Option("--hardware", help="h100, a100 or cpu.")] = "h100",
    distill: Annotated[str, options.DISTILL] = "cosine",
    network: Annotated[str, options.NETWORK] = "mbf",
    recipe_settings: options.RecipeSettings = None,
    ranks: Annotated[int, typer.Option("--ranks", min=1, help="GPUs.")] = 1,
    batch_size: options.BatchSize = 128,
    classes: Annotated[
        list[int] | None, typer.Option("--classes", help="Of all ranks; may be given several times.")
    ] = None,
    sample_rate: Annotated[
        list[float] | None, typer.Option("--sample-rate", help="Share of the classes in a step; several times too.")
    ] = None,
    training_precision: options.TrainingPrecision = "bf16",
    json: options.Json = None,
) -> None:
    from insightface_cakd.experiments.cost.counts.prediction import Job
    from insightface_cakd.experiments.cost.counts.table import cost
    from insightface_cakd.experiments.cost.steps import HeadSize
    from insightface_cakd.recipe import load_recipe
    from insightface_cakd.runtime.atomic import write_json

    recipe = load_recipe(distill, recipe_settings or ())
    job = Job(recipe, network, batch_size, ranks, training_precision, on_gpu=device != "cpu")
    heads = [HeadSize(count, rate) for count in classes or CLASSES for rate in sample_rate or SAMPLE_RATES]
    found = cost(Path(distill).stem, job, device, heads)
    print(found.text())
    if json is not None:
        write_json(json, found.facts())
