"""How a recipe enters a training loop: three names of `train_v2` are replaced, and nothing else."""

import atexit
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.distill.centres import build_rule
from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.head import distilled_head
from insightface_cakd.distill.initial import check_initial, load_initial
from insightface_cakd.distill.logits import SeenMargin
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.plan import UNPLANNED, RunPlan, planned_length
from insightface_cakd.distill.prototypes import open_prototypes, start_terms
from insightface_cakd.distill.snapshot import Snapshots, snapshots_of
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.errors import CAKDError, RecipeError
from insightface_cakd.recipe import Recipe, load_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.tasks.teacher_check import check_teacher
from insightface_cakd.teachers import Teacher, build_teacher, load_centres

NAMES = ("get_model", "CombinedMarginLoss", "PartialFC_V2")


def make_teacher(
    namespace: ModuleType, recipe: Recipe, device: torch.device, checks: bool = True, data: Path | None = None
) -> tuple[Teacher, float | None]:
    """Build the recipe's teacher, measure it where the recipe asks for that, and print what was measured.

    Args:
        namespace: the host's `train_v2`, whose `get_model` knows the host's networks.
        recipe: names the teacher.
        device: where the teacher runs.
        checks: measure it on the recipe's .bin; one rank of a run is enough.
        data: the run's data folder; `teacher.check.bin` may be the name of a set in it.

    Returns:
        The teacher and its accuracy, None where it was not measured.

    Raises:
        TeacherError: it cannot be built, or is below its floor.
    """
    if data is not None:
        find_check_bin(recipe, data)
    teacher = build_teacher(recipe.teacher, namespace.get_model, device)
    accuracy = check_teacher(teacher, recipe.teacher, device) if checks else None
    if accuracy is not None and recipe.teacher.check is not None:
        print(f"teacher {teacher.name}: accuracy {accuracy:.4f} on {Path(recipe.teacher.check.bin).name}", flush=True)
    return teacher, accuracy


def find_check_bin(recipe: Recipe, data: Path) -> None:
    """Let the recipe's `teacher.check.bin` be the name of a set in the run's data folder."""
    check = recipe.teacher.check
    if check is not None and not Path(check.bin).is_file() and (data / check.bin).is_file():
        check.bin = str(data / check.bin)


@contextmanager
def installed(
    namespace: ModuleType,
    recipe: Recipe,
    teacher: Teacher,
    log_dir: Path | None = None,
    every: int = 10,
    snapshots: Snapshots | None = None,
    plan: RunPlan = UNPLANNED,
) -> Iterator[Distillation]:
    """Put a recipe into a training loop for the length of a `with` block.

    Args:
        namespace: a module with the three names of `train_v2`: `get_model`, `CombinedMarginLoss`, `PartialFC_V2`.
        recipe: what to distil and how.
        teacher: built by `make_teacher`, on the run's device.
        log_dir: where the terms are logged; None on all ranks but the first.
        every: steps between two log lines.
        snapshots: from `snapshots_of`; the second is written when the block ends well.
        plan: what the recipe has to know of the run.

    Raises:
        RecipeError, TeacherError: files or a run's length that the recipe needs are missing, or files are of another teacher or data set.
        TapError, ShapeError: when the loop builds the student, if taps or shapes do not fit.
    """
    before = {name: getattr(namespace, name) for name in NAMES}
    distillation = install(namespace, recipe, teacher, log_dir, every, snapshots, plan)
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
    teacher: Teacher,
    log_dir: Path | None = None,
    every: int = 10,
    snapshots: Snapshots | None = None,
    plan: RunPlan = UNPLANNED,
) -> Distillation:
    """Replace the three names for the rest of the process, and write the first snapshot only; see `installed`."""
    _check_landmarks(namespace, recipe)
    terms = [term for term in recipe.losses if term.weight > 0]
    centres, prototypes = _centres(recipe), open_prototypes(recipe, teacher, plan.data)
    initial = None if plan.resumes else recipe.student
    check_initial(initial)
    step = DistillationStep(terms, plan.length)
    start_terms(step, prototypes)
    distillation = Distillation(step, Monitor(log_dir, every), centres, prototypes)
    distillation.rule = build_rule(recipe.head, centres, teacher.embedding_size)
    get_model: Callable[..., nn.Module] = namespace.get_model

    def get_distilled_student(name: str, **kwargs: Any) -> nn.Module:
        """Build the host's student and wrap it."""
        backbone = get_model(name, **kwargs)
        if initial is not None and initial.weights is not None:
            load_initial(backbone, initial.weights)
        # Projectors draw random numbers; the student's and the head's initial weights must not depend on them.
        with torch.random.fork_rng(devices=[]):
            distillation.student = DistilledStudent(backbone, teacher, terms, recipe.urfm, taught=recipe.needs_teacher)
        if snapshots is not None:
            snapshots.watch(distillation, name, int(kwargs["num_features"]))
        return distillation.student

    namespace.get_model = get_distilled_student  # type: ignore[attr-defined]
    namespace.PartialFC_V2 = distilled_head(namespace.PartialFC_V2, distillation)  # type: ignore[attr-defined]
    if recipe.needs_logits:
        margin = namespace.CombinedMarginLoss
        namespace.CombinedMarginLoss = lambda *args, **kwargs: SeenMargin(margin(*args, **kwargs))  # type: ignore[attr-defined]
    return distillation


def enter(
    namespace: ModuleType,
    config: str,
    recipe: str | None,
    teacher: str | None = None,
    centres: Sequence[str] = (),
    prototypes: str | None = None,
    init: str | None = None,
) -> Distillation:
    """Distil for the rest of the process: what a patched `train_v2.py` calls before its own `main`.

    The teacher is built on the script's device (the GPU of its rank, else the CPU) and measured by rank 0.

    Args:
        namespace: the running script, `sys.modules["__main__"]`.
        config: path of the run's config, as the script takes it.
        recipe: name or path.
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
    teacher, _ = make_teacher(namespace, recipe, device, first, data)
    snapshots = snapshots_of(recipe, teacher, cfg) if first else None
    log_dir = log_folder(cfg.output) if first else None
    length = planned_length(cfg, namespace.world_size) if recipe.needs_length else None
    plan = RunPlan(length, bool(cfg.resume), data)
    distillation = install(namespace, recipe, teacher, log_dir, cfg.frequent, snapshots, plan)
    atexit.register(_leave, distillation, snapshots)
    return distillation


def _leave(distillation: Distillation, snapshots: Snapshots | None) -> None:
    """End a script's distillation; a script that an error stopped has no state worth a snapshot."""
    distillation.monitor.close()
    if snapshots is None or getattr(sys, "last_value", None) is not None:
        return
    try:
        snapshots.write_after(distillation)
    except CAKDError as error:
        print(f"train_v2.py: error: {error}", file=sys.stderr)


def log_folder(output: str) -> Path:
    """Return where a run's terms are logged for TensorBoard."""
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


def _centres(recipe: Recipe) -> Tensor | None:
    """Load the teacher's class centres when a term or the head needs them.

    Raises:
        RecipeError: they are needed and the recipe names none.
    """
    if not recipe.needs_centres:
        return None
    if not recipe.teacher.centres:
        reader = "a logits term" if recipe.needs_logits else "head.centres: teacher"
        raise RecipeError(
            f"recipe: {reader} needs the teacher's class centres, but teacher.centres is empty; expected the files with the "
            "teacher's head, in rank order. Set teacher.centres, or pass --centres FILE."
        )
    return load_centres(recipe.teacher.centres)
