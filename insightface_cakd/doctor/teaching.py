"""Whether a recipe's teacher can be built, and whether the student fits it; nothing is trained or measured."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import torch
from easydict import EasyDict

from insightface_cakd.distill.plan import RunPlan
from insightface_cakd.distill.prototypes import check_classes
from insightface_cakd.doctor.findings import Finding, note, ok, problem, refusals
from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts.failures import describe
from insightface_cakd.recipe import Recipe, load_recipe
from insightface_cakd.recipe.schedule import Length
from insightface_cakd.recipe.teacher import CACHED
from insightface_cakd.tasks import seam
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.teacher_check import check_teacher
from insightface_cakd.teachers import Teacher


def examine_teaching(case: Job, namespace: ModuleType, device: torch.device, cfg: EasyDict | None) -> Iterator[Finding]:
    """Load the recipe, build its teacher, and let a student enter the seam as a run would.

    Args:
        case: names the recipe.
        namespace: the host's `train_v2`.
        device: where the teacher would run.
        cfg: of the run; None where there is none, or none that can be built.
    """
    try:
        recipe = load_recipe(str(case.distill), case.recipe_settings)
    except CAKDError as error:
        yield problem(str(error))
        return
    parts = [] if recipe.head is None else [recipe.head.summary]
    parts += [f"{term.weight:g} x {term.name}" for term in recipe.losses]
    yield ok(f"recipe {case.distill}: {' + '.join(parts)}, teacher {recipe.teacher.network}")
    yield from _check_set(recipe, cfg)
    try:
        teachers = seam.make_teachers(namespace, recipe, device, checks=False).teachers
    except CAKDError as error:
        yield problem(str(error))
        return
    teacher = next(iter(teachers.values()))
    digest = f", sha256 {teacher.sha256[:12]}..." if teacher.sha256 else ""
    yield ok(f"teacher {teacher.name}: loaded, embeddings of {teacher.embedding_size} values{digest}")
    if recipe.teacher.network == CACHED:
        yield from refusals(lambda: check_teacher(teacher, recipe.teacher, device))
    if cfg is not None:
        yield from _fit(namespace, recipe, teachers, cfg)


def _check_set(recipe: Recipe, cfg: EasyDict | None) -> Iterator[Finding]:
    """Look for the set on which a run measures its teacher."""
    check = recipe.teacher.check
    if check is None:
        return
    if cfg is not None:
        seam.find_check_bin(recipe.teacher, Path(str(cfg.rec)))
    if Path(check.bin).is_file():
        yield note(
            f"teacher.check: a run measures the teacher first; it must reach {check.floor} on {Path(check.bin).name}."
        )
    elif cfg is not None:
        yield problem(
            f"teacher.check.bin: {check.bin} is neither a file nor in {cfg.rec}; expected the set that measures the teacher. Correct it, "
            "or take teacher.check out of the recipe."
        )


def _fit(namespace: ModuleType, recipe: Recipe, teachers: Mapping[str, Teacher], cfg: EasyDict) -> Iterator[Finding]:
    """Build the student inside the seam, which checks taps, shapes, class centres and prototypes."""
    # Any length will do: no step is taken.
    plan = RunPlan(Length(1, 1), bool(cfg.get("resume")), Path(str(cfg.rec)))
    try:
        with torch.random.fork_rng(devices=[]), seam.installed(namespace, recipe, teachers, plan=plan) as distillation:
            namespace.get_model(cfg.network, dropout=0.0, fp16=cfg.fp16, num_features=cfg.embedding_size)
            if cfg.num_classes is not None:
                check_classes(distillation.prototypes, cfg.num_classes)
                for source in distillation.sources:
                    source.check(cfg.embedding_size, cfg.num_classes)
    # A host's network may raise anything.
    except Exception as error:
        yield problem(f"{'' if isinstance(error, CAKDError) else f'student {cfg.network}: '}{describe(error)}")
        return
    yield ok(f"student {cfg.network}: fits the recipe's taps and losses, embeddings of {cfg.embedding_size} values")
