"""`cakd bench`: what distillation costs on this machine, and how fast records are read."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from insightface_cakd.data.records import FaceRecords
from insightface_cakd.distill.head import Distillation, distilled_head
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.errors import RecipeError, did_you_mean
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.devices import choose_device
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.losses import LOSSES
from insightface_cakd.recipe import TermSpec
from insightface_cakd.teachers.base import Teacher

CLASSES = 1000
WARMUP = 2


def bench(student: str, teacher: str, loss: str, batch: int, steps: int, records: Path | None = None) -> str:
    """Time the three kinds of step in turn, so that a noisy machine is noisy for all of them.

    Args:
        student: network of the student.
        teacher: network of the teacher.
        loss: an embedding loss, weight 64.
        batch: images a step.
        steps: timed repetitions of each kind.
        records: folder with a train.rec to read, if any.

    Returns:
        A few lines of text: machine, medians in milliseconds, distil / (student + teacher).

    Raises:
        CAKDError: no such network or embedding loss, or the records cannot be read.
    """
    known = [name for name, kind in LOSSES.items() if kind.reads == "embedding"]
    if loss not in known:
        raise RecipeError(
            f"bench: '{loss}' is no embedding loss; expected one of {', '.join(known)}.{did_you_mean(loss, known)} Pass --loss."
        )
    device = choose_device(None)
    images = torch.rand(batch, 3, 112, 112, device=device) * 2 - 1
    labels = torch.randint(0, CLASSES, (batch,), device=device)
    kinds = _kinds(student, teacher, loss, images, labels, device)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for repetition in range(WARMUP + steps):
        for kind, run in kinds.items():
            taken = _time(run, device)
            if repetition >= WARMUP:
                seconds[kind].append(taken)
    alone, teaching, distilling = (median(seconds[kind]) for kind in kinds)
    ratios = [d / (a + t) for a, t, d in zip(*seconds.values(), strict=True)]
    lines = [
        machine(device),
        f"student {student}, teacher {teacher}, {loss}, batch {batch}, median of {steps} steps taken in turn",
        f"student step        {1000 * alone:8.1f} ms",
        f"teacher forward     {1000 * teaching:8.1f} ms",
        f"distillation step   {1000 * distilling:8.1f} ms",
        f"distillation / (student + teacher): {median(ratios):.3f} (min {min(ratios):.3f}, max {max(ratios):.3f})",
    ]
    if records is not None:
        lines.append(f"record reading: {reading_speed(records):.0f} images/s on one core, decoding included")
    return "\n".join(lines)


def machine(device: torch.device) -> str:
    """Return one line that says what the numbers were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{device.type} {name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"


def reading_speed(folder: Path, limit: int = 5000) -> float:
    """Return decoded images per second of one process over at most `limit` records."""
    records = FaceRecords(folder)
    count = min(len(records), limit)
    started = time.perf_counter()
    for index in range(count):
        records[index]
    return count / (time.perf_counter() - started)


def _kinds(
    student: str, teacher: str, loss: str, images: Tensor, labels: Tensor, device: torch.device
) -> dict[str, Callable[[], object]]:
    """Return student step, teacher forward and distillation step as calls without arguments."""
    taught = Teacher.of_network(get_model(teacher, num_features=512), teacher, 512, device)
    terms = [TermSpec(loss=loss, name=loss, weight=64.0)]
    distillation = Distillation(DistillationStep(terms), Monitor(None, every=10))
    alone = SimpleNamespace(backbone=get_model(student, num_features=512), head=PartialFC_V2)
    wrapped = DistilledStudent(get_model(student, num_features=512), taught, terms)
    distillation.student = wrapped
    distilled = SimpleNamespace(backbone=wrapped, head=distilled_head(PartialFC_V2, distillation))
    return {
        "student": _step(alone.backbone, alone.head, images, labels, device),
        "teacher": lambda: taught(images),
        "distillation": _step(distilled.backbone, distilled.head, images, labels, device),
    }


def _step(
    backbone: nn.Module, head_class: type[nn.Module], images: Tensor, labels: Tensor, device: torch.device
) -> Callable[[], None]:
    """Return one full training step: forward, head, backward, clip, update."""
    backbone.to(device).train()
    head = head_class(CombinedMarginLoss(64, 1.0, 0.5, 0.0), 512, CLASSES).to(device).train()
    optimizer = torch.optim.SGD(
        [{"params": backbone.parameters()}, {"params": head.parameters()}], lr=1e-3, momentum=0.9
    )

    def run() -> None:
        loss = head(backbone(images), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(backbone.parameters(), 5)
        optimizer.step()
        optimizer.zero_grad()

    return run


def _time(run: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, the device's queue emptied before and after."""
    _synchronize(device)
    started = time.perf_counter()
    run()
    _synchronize(device)
    return time.perf_counter() - started


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
