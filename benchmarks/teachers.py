"""What a frozen teacher's forward costs: in float32, in half precision, compiled."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe.teacher import TeacherSpec
from insightface_cakd.report.tables import Row, markdown_table
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.teachers.base import Teacher
from insightface_cakd.teachers.build import untrained_teacher

SIZE, WIDTH = 112, 512


@dataclass(frozen=True)
class Forward:
    """Milliseconds an image of a teacher's forward.

    Args:
        network: as a recipe names it.
        full: in the precision that it has by itself: float32 on a CPU.
        half: in half precision, as in a run with `precision=bf16`.
        compiled: with `teacher.compile` besides.
        start: seconds of the first forward of the compiled one.
    """

    network: str
    full: float
    half: float
    compiled: float
    start: float


def teacher_forwards(networks: list[str], batch: int, repeats: int) -> Iterator[Forward]:
    """Yield the forward of each network, random weights; the least of some repeats, in turn.

    Args:
        networks: of the host, or `timm:NAME`.
        batch: images at a time.
        repeats: forwards of each kind.
    """
    device = choose_device(None)
    images = torch.rand(batch, 3, SIZE, SIZE, device=device) * 2 - 1
    for name in networks:
        kinds = [_teacher(name, device, compiled) for compiled in (False, False, True)]
        for teacher in kinds[1:]:
            teacher.compute_in_half()
        start = _seconds(kinds[2], images)
        least = [float("inf")] * len(kinds)
        for _ in range(repeats + 1):
            for place, teacher in enumerate(kinds):
                least[place] = min(least[place], _seconds(teacher, images))
        full, half, compiled = (1000 * seconds / batch for seconds in least)
        yield Forward(name, full, half, compiled, start)


def _teacher(name: str, device: torch.device, compiled: bool) -> Teacher:
    return untrained_teacher(TeacherSpec(network=name, compile=compiled), get_model, WIDTH, device)


def _seconds(teacher: Callable[[Tensor], Tensor], images: Tensor) -> float:
    started = time.perf_counter()
    teacher(images).sum().item()  # Waits for the device.
    return time.perf_counter() - started


def table(forwards: Iterator[Forward]) -> str:
    """Return the forwards as a table."""
    rows: list[Row] = [
        {
            "teacher": f"`{one.network}`",
            "ms an image": f"{one.full:.2f}",
            "half precision": f"{one.half:.2f}",
            "and compiled": f"{one.compiled:.2f}",
            "compiling takes": f"{one.start:.0f} s",
        }
        for one in forwards
    ]
    return markdown_table(rows)
