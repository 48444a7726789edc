"""Puts a recipe into a loop: names of its `train_v2` are replaced."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.head import distilled_head
from insightface_cakd.distill.initial import check_initial, load_initial
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.plan import UNPLANNED, RunPlan
from insightface_cakd.distill.prototypes import open_prototypes, start_terms
from insightface_cakd.distill.snapshot import Snapshots
from insightface_cakd.distill.sources import Setting, build_sources
from insightface_cakd.distill.sources.logits import SeenMargin
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import Recipe
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.tasks.known import task_of
from insightface_cakd.tasks.measuring import MeasureCallback
from insightface_cakd.tasks.task import DataRequest, Task, head_of, own_batches, sides_of
from insightface_cakd.teachers import Teacher
from insightface_cakd.teachers.ensemble import Ensemble

# The names that a loop looks up when a run begins, as arcface_torch's `train_v2` does.
NAMES = ("get_dataloader", "get_model", "CombinedMarginLoss", "PartialFC_V2", "CallBackVerification")


@contextmanager
def installed(
    namespace: ModuleType,
    recipe: Recipe,
    teachers: Mapping[str, Teacher],
    log_dir: Path | None = None,
    every: int = 10,
    snapshots: Snapshots | None = None,
    plan: RunPlan = UNPLANNED,
    task: Task | None = None,
) -> Iterator[Distillation]:
    """Put a recipe into a training loop during a `with` block.

    As `install`, and the second snapshot is written when the block ends without an error.
    """
    before = {name: getattr(namespace, name) for name in NAMES if hasattr(namespace, name)}
    distillation = None
    try:
        # An error halfway leaves some names replaced.
        distillation = install(namespace, recipe, teachers, log_dir, every, snapshots, plan, task)
        yield distillation
        if snapshots is not None:
            snapshots.write_after(distillation)
    finally:
        if distillation is not None:
            distillation.monitor.close()
        for name, original in before.items():
            setattr(namespace, name, original)


def install(
    namespace: ModuleType,
    recipe: Recipe,
    teachers: Mapping[str, Teacher],
    log_dir: Path | None = None,
    every: int = 10,
    snapshots: Snapshots | None = None,
    plan: RunPlan = UNPLANNED,
    task: Task | None = None,
) -> Distillation:
    """Replace the names for good, and write the first snapshot.

    Args:
        namespace: a module with the five names of `train_v2`.
        log_dir: where the terms are logged; None on all ranks but the first.
        task: the recipe's, which has filled the config; made anew when not given.
    """
    _check_landmarks(namespace, recipe)
    task = task or task_of(recipe)
    sources = [*build_sources(recipe, teachers), *task.sources(Setting(recipe, teachers))]
    prototypes = open_prototypes(recipe, teachers, plan.data)
    step = DistillationStep(recipe.terms, sources, plan.length)
    start_terms(step, prototypes)
    distillation = Distillation(
        step, Monitor(log_dir, every, says=not getattr(namespace, "LOGS_TERMS", False)), sources, prototypes
    )
    _replace_model(namespace, recipe, teachers, distillation, task, snapshots, plan)
    namespace.PartialFC_V2 = distilled_head(head_of(task, namespace.PartialFC_V2), distillation)  # type: ignore[attr-defined]
    if any(source.by_class for source in sources):
        margin = namespace.CombinedMarginLoss
        namespace.CombinedMarginLoss = lambda *args, **kwargs: SeenMargin(margin(*args, **kwargs))  # type: ignore[attr-defined]
    _install_task(namespace, task)
    return distillation


def _install_task(namespace: ModuleType, task: Task) -> None:
    """Replace a loop's data and measure by a task's own, if any."""
    if task.has_own_data:

        def get_dataloader(
            root_dir: str,
            local_rank: int,
            batch_size: int,
            dali: bool = False,
            dali_aug: bool = False,
            seed: int = 2048,
            num_workers: int = 2,
            device: torch.device | None = None,
            num_classes: int | None = None,
        ) -> Any:
            """Return the task's batches; called as both hosts call theirs."""
            where = device or choose_device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
            return own_batches(task, DataRequest(Path(root_dir), batch_size, seed, num_workers, where))

        namespace.get_dataloader = get_dataloader  # type: ignore[attr-defined]
    if task.has_own_measures:
        namespace.CallBackVerification = partial(MeasureCallback, task)  # type: ignore[attr-defined]


def _replace_model(
    namespace: ModuleType,
    recipe: Recipe,
    teachers: Mapping[str, Teacher],
    distillation: Distillation,
    task: Task,
    snapshots: Snapshots | None,
    plan: RunPlan,
) -> None:
    """Let `get_model` return the host's student, wrapped."""
    initial = None if plan.resumes else recipe.student
    check_initial(initial)
    sides = sides_of(recipe, task, plan.seed)
    ensemble = None if recipe.ensemble is None else Ensemble(recipe.ensemble, teachers)
    get_model: Callable[..., nn.Module] = namespace.get_model

    def get_backbone(name: str, **kwargs: Any) -> nn.Module:
        own = task.network(name, **kwargs)
        return get_model(name, **kwargs) if own is None else own

    def get_distilled_student(name: str, **kwargs: Any) -> nn.Module:
        backbone = get_backbone(name, **kwargs)
        task.prepare(backbone)
        if initial is not None and initial.weights is not None:
            narrower = (
                (lambda width: get_backbone(name, **{**kwargs, "num_features": width})) if task.has_own_answer else None
            )
            load_initial(backbone, initial.weights, narrower)
        # Projectors draw random numbers; the student's and the head's initial weights must not depend on them.
        with torch.random.fork_rng(devices=[]):
            student = DistilledStudent(
                backbone,
                teachers,
                distillation.sources,
                taught=recipe.needs_teacher,
                sides=sides,
                embedding_of=task.embedding,
                ensemble=ensemble,
            )
        student.step = lambda: distillation.step.step
        distillation.student = student
        if snapshots is not None:
            snapshots.watch(distillation, name, int(kwargs["num_features"]))
        return student

    namespace.get_model = get_distilled_student  # type: ignore[attr-defined]


def _check_landmarks(namespace: ModuleType, recipe: Recipe) -> None:
    """Check that a host gives the landmarks that a recipe reads."""
    reads = recipe.urfm is not None and recipe.urfm.landmarks == "batch"
    if reads and not getattr(namespace, "GIVES_LANDMARKS", False):
        raise RecipeError(
            "urfm.landmarks: batch, but this host's batches have no landmarks; expected a loop that calls the student with them. Set "
            "urfm.landmarks: template, or train on the embedded host."
        )
