"""Recipes against each other with the students that are shipped, in a given time."""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch

from benchmarks.gpu_steps import measured, predicted
from insightface_cakd.data.records import has_records
from insightface_cakd.errors import RunError
from insightface_cakd.experiments.cost import machine, reading_speed, times
from insightface_cakd.experiments.cost.counts.rates import GPUS
from insightface_cakd.experiments.cost.steps import ALONE, DISTILLATION, Precision, timed_runs
from insightface_cakd.experiments.runs import Comparison, compare
from insightface_cakd.hosts.embedded.dataset import open_faces
from insightface_cakd.recipe import load_recipe
from insightface_cakd.runtime.atomic import write_text
from insightface_cakd.runtime.devices import choose_device

PAGE = "on_gpu.md"
# Share of the time that is left for verification, start and teacher's trial.
SPARE = 0.25


@dataclass(frozen=True)
class Plan:
    """What is compared, and how long it may take.

    Args:
        data: folder with train.rec, or of people, and the verification sets.
        sets: names of the verification sets.
        teacher: its file.
        recipes: by name or path.
        recipe_settings: `KEY=VALUE` changes to all of them.
        networks: students.
        seeds: each trains all.
        minutes: of all trainings.
        batch: images of a step.
        precision: of the student.
        workers: of the loader.
        device: of everything; the best there is when not given.
    """

    data: Path
    sets: tuple[str, ...]
    teacher: str
    recipes: tuple[str, ...]
    recipe_settings: tuple[str, ...] = ()
    networks: tuple[str, ...] = ("mbf", "r18")
    seeds: tuple[int, ...] = (2048, 2049, 2050)
    minutes: float = 25
    batch: int = 256
    precision: Precision = "bf16"
    workers: int = 8
    device: str | None = None


def in_small(plan: Plan) -> Plan:
    """Return a plan that ends on a CPU in minutes, to try it."""
    return replace(
        plan, networks=("cnn_tiny",), seeds=plan.seeds[:1], minutes=min(2.0, plan.minutes), batch=16, workers=0
    )


def on_paper(output: Path, plan: Plan, gpu: str) -> str:
    """Write the page's steps as they are predicted for a GPU; train nothing.

    Args:
        output: folder of the page, `on_gpu.md`.
        plan: what would be compared.
        gpu: as `cakd cost` names it.

    Returns:
        The page.
    """
    table = predicted(plan.recipes, plan.recipe_settings, plan.networks, plan.batch, gpu)
    page = f"# Steps of {plan.batch} images on {gpu}, predicted\n\n{GPUS[gpu].assumptions()}.\n\n{table}\n"
    write_text(output / PAGE, page, RunError)
    return page


def on_gpu(output: Path, plan: Plan) -> str:
    """Time steps, and train every recipe with every student for equally many.

    The steps are as many as fit into the time, by a trial of each step and of reading. Stopped comparisons go on.

    Args:
        output: folder of the runs and of the page, `on_gpu.md`.
        plan: what is compared.

    Returns:
        The page.

    Raises:
        RunError: not even an epoch fits.
    """
    device = choose_device(plan.device)
    images = len(open_faces(str(plan.data)))
    per_epoch = images // plan.batch
    read = _reading_seconds(plan)
    seconds = {network: step_seconds(plan, network, device, read) for network in plan.networks}
    each = sum(map(sum, (one.values() for one in seconds.values()))) * len(plan.seeds)
    epochs = int((1 - SPARE) * 60 * plan.minutes / each / max(1, per_epoch))
    if per_epoch < 1 or epochs < 1:
        minutes = each * per_epoch / 60
        raise RunError(
            f"{plan.data}: an epoch of {images} images takes {minutes:.1f} minutes for all runs; expected at least one epoch of batch "
            f"{plan.batch} in {(1 - SPARE) * plan.minutes:g}. Give more minutes, or fewer recipes, seeds or networks."
        )
    parts = [
        f"# {' and '.join(plan.networks)}, {epochs * per_epoch} steps of {plan.batch}\n",
        f"{machine(device)}; {plan.precision}, {images} images, {plan.workers} workers; at most {plan.minutes:g} minutes of training.",
        f"## Steps of {plan.batch}, random weights",
        "The floor is the student alone and the teacher's forward; MiB are those that a distillation step allocates.",
        measured(plan.recipes, plan.recipe_settings, plan.networks, plan.batch, device),
    ]
    for network in plan.networks:
        settings = _settings(plan, network, epochs, device)
        terms = Comparison(
            plan.recipes,
            plan.seeds,
            "faces_cnn_small",
            plan.teacher,
            plan.data,
            settings=settings,
            recipe_settings=plan.recipe_settings,
        )
        parts += [f"## {network}", compare(output / network, terms).text()]
        parts += [
            "Milliseconds of a step, tried before: "
            + ", ".join(f"{k} {1000 * v:.1f}" for k, v in seconds[network].items())
            + "."
        ]
    page = "\n\n".join(parts) + "\n"
    write_text(output / PAGE, page, RunError)
    return page


def _reading_seconds(plan: Plan) -> float:
    """Return the seconds in which the workers decode a batch; 0 for a folder, whose reading is not timed."""
    if not has_records(plan.data):
        return 0.0
    return plan.batch / (reading_speed(plan.data) * max(1, plan.workers))


def step_seconds(plan: Plan, network: str, device: torch.device, read: float) -> dict[str, float]:
    """Return the seconds of a step by recipe, the student alone among them.

    A step cannot be faster than a batch is read.

    Args:
        plan: of the comparison.
        network: of the student.
        device: of the run.
        read: seconds in which a batch is read.
    """
    found: dict[str, float] = {}
    for recipe in plan.recipes:
        runs = timed_runs(load_recipe(recipe, plan.recipe_settings), network, plan.batch, device, plan.precision)
        names = {DISTILLATION: Path(recipe).stem} | ({} if found else {ALONE: "alone"})
        taken = times({kind: runs[kind] for kind in names}, 3, device)
        found |= {name: max(read, median(taken[kind])) for kind, name in names.items()}
    return found


def _settings(plan: Plan, network: str, epochs: int, device: torch.device) -> tuple[str, ...]:
    """Return the settings that all students share."""
    settings = {
        "network": network,
        "num_epoch": epochs,
        "verify_epochs": epochs,
        "batch_size": plan.batch,
        "precision": plan.precision,
        "val_targets": list(plan.sets),
        "num_workers": plan.workers,
        "device": device.type,
    }
    return tuple(f"{key}={value}" for key, value in settings.items())
