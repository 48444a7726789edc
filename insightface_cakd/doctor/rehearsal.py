"""Rehearsal of a run up to its first loss.

Each step is the run's own code. Nothing is trained or written.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import torch
from easydict import EasyDict
from torch import nn

from insightface_cakd.distill.plan import RunPlan
from insightface_cakd.doctor.data import examine_faces
from insightface_cakd.doctor.teaching import examine_teachers
from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts.embedded.dataset import get_dataloader
from insightface_cakd.hosts.failures import describe
from insightface_cakd.recipe import Recipe, load_recipe
from insightface_cakd.recipe.schedule import Length
from insightface_cakd.recipe.teacher import CACHED, TeacherSpec
from insightface_cakd.runtime.findings import Finding, note, ok, problem
from insightface_cakd.runtime.foreign import anything_foreign, print_traceback
from insightface_cakd.tasks import seam
from insightface_cakd.tasks.job import Job, configured
from insightface_cakd.tasks.known import task_of
from insightface_cakd.tasks.task import DataRequest, Task, own_batches
from insightface_cakd.tasks.teaching import Teaching, check_teacher, find_check_bin, make_teachers, sets_of
from insightface_cakd.tasks.telling import terms_of

T = TypeVar("T")
Step = Generator[Finding, None, T]
IMAGES = 2


@dataclass(frozen=True)
class Host:
    """The parts of a host that a rehearsal needs.

    Args:
        device: returns the device of a run with this config; None stands for no config.
        build: checks a config and its data, and returns student and head in training mode, as a run builds them.
        length: returns the length of a run with this config, filled by this task.
        remarks: yields further findings about a config with which a run starts.
    """

    train_v2: ModuleType
    get_config: Callable[[str], EasyDict]
    device: Callable[[EasyDict | None], torch.device]
    build: Callable[[EasyDict, torch.device], tuple[nn.Module, nn.Module]]
    length: Callable[[EasyDict, Task], Length]
    remarks: Callable[[EasyDict], Iterator[Finding]]


def rehearse(job: Job, host: Host) -> Iterator[Finding]:
    """Go through the steps of a run, and yield findings.

    The steps: config, recipe and teacher, data, student and head, one batch, verification sets.
    """
    cfg = (yield from _step(_config(job, host))) if job.config is not None else None
    taught = None
    if job.distill is not None:
        taught = yield from _step(_teaching(job, host, cfg))
    if cfg is not None:
        yield from _step(_run(host, cfg, taught))
    elif job.data is not None:
        yield from _step(examine_faces(str(job.data)))


def _step(findings: Step[T]) -> Step[T | None]:
    """Pass on a step's findings; an error ends it with a problem."""
    try:
        with anything_foreign():
            return (yield from findings)
    except CAKDError as error:
        yield problem(str(error))
    # A checkout's code may raise anything.
    except Exception as error:
        print_traceback(error)
        yield problem(describe(error))
    return None


def _config(job: Job, host: Host) -> Step[EasyDict]:
    cfg = configured(job, host.get_config)
    facts = ("network", "num_classes", "batch_size", "lr", "num_epoch", "output")
    shown = (f"{key} {'open' if cfg.get(key) is None else cfg.get(key)}" for key in facts)
    yield ok(f"config {job.config}: {', '.join(shown)}")
    return cfg


def _teaching(job: Job, host: Host, cfg: EasyDict | None) -> Step[tuple[Recipe, Teaching]]:
    """Load recipe and teachers as a run does.

    They are measured later, when everything else fits.
    """
    recipe = load_recipe(str(job.distill), job.recipe_settings)
    names = ", ".join(spec.network for spec in recipe.named_teachers.values()) or "none"
    yield ok(f"recipe {job.distill}: {terms_of(recipe)}, teacher {names}")
    for spec in recipe.named_teachers.values():
        yield from _check_set(spec, cfg)
    device = host.device(cfg)
    teaching = make_teachers(host.train_v2, recipe, device, checks=False)
    for name, teacher in teaching.teachers.items():
        digest = f", sha256 {teacher.sha256[:12]}..." if teacher.sha256 else ""
        yield ok(f"teacher {teacher.name}: loaded, embeddings of {teacher.embedding_size} values{digest}")
        if recipe.named_teachers[name].network == CACHED:
            check_teacher(teacher, recipe.named_teachers[name], device)
    return recipe, teaching


def _check_set(teacher: TeacherSpec, cfg: EasyDict | None) -> Iterator[Finding]:
    """Look for the verification set on which a run measures its teacher."""
    check = teacher.check
    if check is None:
        return
    if cfg is not None:
        find_check_bin(teacher, Path(str(cfg.rec)))
    if Path(check.bin).is_file():
        yield note(
            f"teacher.check: a run measures the teacher first; it must reach {check.floor} on {Path(check.bin).name}."
        )
    elif cfg is not None:
        yield problem(
            f"teacher.check.bin: {check.bin} is neither a file nor in {cfg.rec}; expected the set that measures the teacher. Correct it, "
            "or take teacher.check out of the recipe."
        )


def _run(host: Host, cfg: EasyDict, taught: tuple[Recipe, Teaching] | None) -> Step[None]:
    """Build student and head, and run one batch forward and backward.

    With a recipe, they are built with the distillation installed in the host.
    """
    device = host.device(cfg)
    task = Task()
    if taught is None:
        loss = _first_loss(host, cfg, device, task)
    else:
        recipe, teaching = taught
        task = task_of(recipe)
        task.fill(cfg)
        length = host.length(cfg, task) if recipe.needs_length else None
        plan = RunPlan(length, bool(cfg.get("resume")), Path(str(cfg.rec)), int(cfg.seed))
        with seam.installed(host.train_v2, recipe, teaching.teachers, plan=plan, task=task) as distillation:
            loss = _first_loss(host, cfg, device, task)
        yield ok(f"student {cfg.network}: fits the recipe's taps and losses, embeddings of {cfg.embedding_size} values")
    yield ok(f"first batch: {IMAGES} images, loss {loss:.2f}")
    if taught is not None:
        started = recipe.student is not None and recipe.student.weights is not None
        start = distillation.student if started else None
        yield from examine_teachers(recipe, teaching, sets_of(cfg, task), device, start)
    if not task.has_own_data:
        yield from examine_faces(str(cfg.rec), cfg.num_classes)
        yield from host.remarks(cfg)


def _first_loss(host: Host, cfg: EasyDict, device: torch.device, task: Task) -> float:
    with torch.random.fork_rng():
        student, head = host.build(cfg, device)
        batches = own_batches(task, DataRequest(Path(str(cfg.rec)), IMAGES, int(cfg.seed), 0, device))
        if batches is None:
            batches = get_dataloader(str(cfg.rec), 0, IMAGES, num_workers=0, device=device)
        if getattr(student, "reads_landmarks", False):
            batches.with_landmarks(Path(str(cfg.rec)))
        images, labels, *landmarks = next(iter(batches))
        if not labels.is_floating_point():
            # The synthetic images here have more people than those of arcface_torch.
            labels = labels % cfg.num_classes
        loss: torch.Tensor = head(student(images, *landmarks), labels)
        loss.backward()
    return float(loss.detach())
