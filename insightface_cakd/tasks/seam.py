"""Puts a recipe into a training loop.

Up to five names of `train_v2` are replaced, and nothing else.
"""

import atexit
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from insightface_cakd.distill.plan import UNPLANNED, RunPlan, planned_length
from insightface_cakd.distill.prototypes import open_prototypes, start_terms
from insightface_cakd.distill.snapshot import Snapshots, snapshots_of
from insightface_cakd.distill.sources import build_sources
from insightface_cakd.distill.sources.logits import SeenMargin
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.errors import CAKDError, RecipeError
from insightface_cakd.recipe import Recipe, load_recipe
from insightface_cakd.recipe.named import ViewsSpec
from insightface_cakd.recipe.settings import given
from insightface_cakd.recipe.teacher import TeacherSpec
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.tasks.known import task_of
from insightface_cakd.tasks.measuring import MeasureCallback
from insightface_cakd.tasks.task import DataRequest, Task
from insightface_cakd.tasks.teacher_check import check_teacher
from insightface_cakd.teachers import Teacher, build_teacher
from insightface_cakd.views import Sides

# The names that a loop looks up when a run begins, as arcface_torch's `train_v2` does.
NAMES = ("get_dataloader", "get_model", "CombinedMarginLoss", "PartialFC_V2", "CallBackVerification")


@dataclass(frozen=True)
class Teaching:
    """The teachers of a run.

    Args:
        teachers: by name.
        accuracy: of the first on the recipe's .bin, in [0, 1]; None where it was not measured.
    """

    teachers: Mapping[str, Teacher]
    accuracy: float | None = None

    @property
    def first(self) -> Teacher | None:
        """The first teacher, None in a run without one."""
        return next(iter(self.teachers.values()), None)


def make_teachers(
    namespace: ModuleType, recipe: Recipe, device: torch.device, checks: bool = True, data: Path | None = None
) -> Teaching:
    """Build the recipe's teachers, and measure them where it asks for that.

    The accuracy of each is printed.

    Args:
        namespace: the host's `train_v2`, whose `get_model` knows the host's networks.
        recipe: names the teachers.
        device: where they run.
        checks: measure them on their .bin; one rank of a run is enough.
        data: the run's data folder; `teacher.check.bin` may be the name of a set in it.

    Raises:
        TeacherError: one cannot be built, or is below its floor.
    """
    built, accuracies = {}, []
    for name, spec in recipe.named_teachers.items():
        if data is not None:
            find_check_bin(spec, data)
        built[name] = teacher = build_teacher(spec, namespace.get_model, device)
        accuracy = check_teacher(teacher, spec, device) if checks else None
        accuracies.append(accuracy)
        if accuracy is not None and spec.check is not None:
            print(f"teacher {teacher.name}: accuracy {accuracy:.4f} on {Path(spec.check.bin).name}", flush=True)
    return Teaching(built, accuracies[0] if accuracies else None)


def find_check_bin(spec: TeacherSpec, data: Path) -> None:
    """Resolve a `teacher.check.bin` that names a set in the data folder.

    Args:
        spec: of the teacher; changed in place.
        data: the run's data folder.
    """
    check = spec.check
    if check is not None and not Path(check.bin).is_file() and (data / check.bin).is_file():
        check.bin = str(data / check.bin)


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

    Args:
        namespace: a module with the five names of `train_v2`.
        recipe: task, student, teachers and terms of the run.
        teachers: built by `make_teachers`, on the run's device.
        log_dir: where the terms are logged; None on all ranks but the first.
        every: steps between two log lines.
        snapshots: from `snapshots_of`; the second is written when the block ends without an error.
        plan: what the recipe must know of the run.
        task: the recipe's, which has filled the config; made anew when not given.

    Raises:
        RecipeError, TeacherError: files or a run's length that the recipe needs are missing, or files are of another teacher or data set.
        TapError, ShapeError: when the loop builds the student, if taps or shapes do not fit.
    """
    before = {name: getattr(namespace, name) for name in NAMES if hasattr(namespace, name)}
    distillation = install(namespace, recipe, teachers, log_dir, every, snapshots, plan, task)
    try:
        yield distillation
        if snapshots is not None:
            snapshots.write_after(distillation)
    finally:
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
    """Replace the names for the rest of the process.

    As `installed`, but only the first snapshot is written.

    Args:
        namespace: a module with the five names of `train_v2`.
        recipe: task, student, teachers and terms of the run.
        teachers: built by `make_teachers`, on the run's device.
        log_dir: where the terms are logged; None on all ranks but the first.
        every: steps between two log lines.
        snapshots: from `snapshots_of`.
        plan: what the recipe must know of the run.
        task: the recipe's, which has filled the config; made anew when not given.
    """
    _check_landmarks(namespace, recipe)
    task = task or task_of(recipe)
    sources = build_sources(recipe, teachers)
    prototypes = open_prototypes(recipe, teachers, plan.data)
    step = DistillationStep(recipe.terms, sources, plan.length)
    start_terms(step, prototypes)
    distillation = Distillation(step, Monitor(log_dir, every), sources, prototypes)
    _replace_model(namespace, recipe, teachers, distillation, task, snapshots, plan)
    namespace.PartialFC_V2 = distilled_head(task.head() or namespace.PartialFC_V2, distillation)  # type: ignore[attr-defined]
    if any(source.by_class for source in sources):
        margin = namespace.CombinedMarginLoss
        namespace.CombinedMarginLoss = lambda *args, **kwargs: SeenMargin(margin(*args, **kwargs))  # type: ignore[attr-defined]
    install_task(namespace, task)
    return distillation


def install_task(namespace: ModuleType, task: Task) -> None:
    """Replace a loop's data and measure by a task's.

    What the task leaves to the host stays.

    Args:
        namespace: a module with the five names of `train_v2`.
        task: of the run.
    """
    kind = type(task)
    if kind.data is not Task.data:

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
            return task.data(DataRequest(Path(root_dir), batch_size, seed, num_workers, where))

        namespace.get_dataloader = get_dataloader  # type: ignore[attr-defined]
    if kind.measures is not Task.measures:
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
    sides = Sides.of(recipe.views if recipe.views != ViewsSpec() else task.views, plan.seed)
    get_model: Callable[..., nn.Module] = namespace.get_model

    def get_distilled_student(name: str, **kwargs: Any) -> nn.Module:
        """Build the host's student and wrap it."""
        backbone = get_model(name, **kwargs)
        task.prepare(backbone)
        if initial is not None and initial.weights is not None:
            load_initial(backbone, initial.weights)
        # Projectors draw random numbers; the student's and the head's initial weights must not depend on them.
        with torch.random.fork_rng(devices=[]):
            student = DistilledStudent(
                backbone, teachers, distillation.sources, taught=recipe.needs_teacher, sides=sides
            )
        student.step = lambda: distillation.step.step
        distillation.student = student
        if snapshots is not None:
            snapshots.watch(distillation, name, int(kwargs["num_features"]))
        return student

    namespace.get_model = get_distilled_student  # type: ignore[attr-defined]


def enter(
    namespace: ModuleType,
    config: str,
    recipe: str | None,
    teacher: str | None = None,
    centres: Sequence[str] = (),
    prototypes: str | None = None,
    init: str | None = None,
) -> Distillation:
    """Distil for the rest of the process.

    A patched `train_v2.py` calls this before its own `main`. The teacher is built on the script's device (the GPU of its rank, else the
    CPU) and measured by rank 0.

    Args:
        namespace: the running script, `sys.modules["__main__"]`.
        config: path of the run's config, as the script takes it.
        recipe: name or path; None is refused.
        teacher: replaces the recipe's `teacher.weights`.
        centres: replaces the recipe's `teacher.centres`.
        prototypes: replaces the recipe's `teacher.prototypes`.
        init: replaces the recipe's `student.weights`.

    Raises:
        SystemExit: no recipe, or recipe or teacher cannot be used; one line on stderr and exit code 1, as a script ends.
    """
    try:
        if not recipe:
            raise RecipeError(
                "--teacher, --centres, --prototypes or --init without --distill; expected a recipe. Add --distill RECIPE."
            )
        loaded = load_recipe(recipe, given(teacher, centres, prototypes, init))
        return _enter(namespace, namespace.get_config(config), loaded)
    except CAKDError as error:
        raise SystemExit(f"train_v2.py: error: {error}") from error


def _enter(namespace: ModuleType, cfg: Any, recipe: Recipe) -> Distillation:
    device = torch.device("cuda", namespace.local_rank) if torch.cuda.is_available() else torch.device("cpu")
    first = namespace.rank == 0
    data = Path(str(cfg.rec))
    task = task_of(recipe)
    task.fill(cfg)
    teaching = make_teachers(namespace, recipe, device, first, data)
    snapshots = snapshots_of(recipe, teaching.first, cfg) if first else None
    log_dir = log_folder(cfg.output) if first else None
    length = planned_length(cfg, namespace.world_size) if recipe.needs_length else None
    plan = RunPlan(length, bool(cfg.resume), data, int(cfg.seed))
    distillation = install(namespace, recipe, teaching.teachers, log_dir, cfg.frequent, snapshots, plan, task)
    atexit.register(_leave, distillation, snapshots)
    return distillation


def _leave(distillation: Distillation, snapshots: Snapshots | None) -> None:
    """End a script's distillation.

    A script that an error stopped has no state worth a snapshot.
    """
    distillation.monitor.close()
    if snapshots is None or getattr(sys, "last_value", None) is not None:
        return
    try:
        snapshots.write_after(distillation)
    except CAKDError as error:
        print(f"train_v2.py: error: {error}", file=sys.stderr)


def log_folder(output: str) -> Path:
    """Return where a run's terms are logged for TensorBoard.

    Args:
        output: folder of the run.
    """
    return Path(output) / "tensorboard" / "distill"


def _check_landmarks(namespace: ModuleType, recipe: Recipe) -> None:
    """Check that a host gives the landmarks that a recipe reads.

    Raises:
        RecipeError: it does not.
    """
    reads = recipe.urfm is not None and recipe.urfm.landmarks == "batch"
    if reads and not getattr(namespace, "GIVES_LANDMARKS", False):
        raise RecipeError(
            "urfm.landmarks: batch, but this host's batches have no landmarks; expected a loop that calls the student with them. Set "
            "urfm.landmarks: template, or train on the embedded host."
        )
