"""Predicts what a step costs, from counts."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from insightface_cakd.errors import RunError
from insightface_cakd.experiments.cost.counts.no_data import NoData, ranks_that_answer_nothing, tensors_of
from insightface_cakd.experiments.cost.counts.operations import Operation, Operations, ring_all_reduce
from insightface_cakd.experiments.cost.counts.parts import Part, Parts
from insightface_cakd.experiments.cost.memory import LiveTensors
from insightface_cakd.experiments.cost.steps import (
    ALONE,
    ANCHOR,
    DISTILLATION,
    HeadSize,
    Precision,
    Run,
    TrainingStep,
    timed_runs,
)
from insightface_cakd.hosts.embedded.backbones.prelu import PReLU
from insightface_cakd.losses.blocks import blocks_of_a_gpu
from insightface_cakd.recipe import Recipe


class Rates(Protocol):
    """How fast a device is."""

    @property
    def memory(self) -> float:
        """Bytes that it has."""

    def assumptions(self) -> str:
        """Return one line about what is assumed."""

    def seconds(self, operation: Operation, ranks: int) -> float:
        """Return how long an operator takes."""


@dataclass(frozen=True)
class Job:
    """A step whose cost is asked for.

    Args:
        recipe: of the distillation.
        student: name of the network.
        batch: images of a rank.
        ranks: how many.
        precision: of the student; on a GPU bfloat16 stands for float16, which costs the same.
        on_gpu: whether operators are a GPU's: teachers in half precision, torch's own PReLU, an optimiser for all parameters at once.
    """

    recipe: Recipe
    student: str
    batch: int = 128
    ranks: int = 1
    precision: Precision = "fp32"
    on_gpu: bool = True


@dataclass(frozen=True)
class Counts:
    """What the calls of a step do, on one rank.

    Args:
        operations: by call; those of `timed_runs`.
        memory: bytes at the step's peak, by what they are for.
    """

    operations: Mapping[str, Sequence[Operation]]
    memory: Mapping[str, int]

    @property
    def peak(self) -> int:
        """Bytes that a rank needs at a time."""
        return sum(self.memory.values())

    def flops(self, part: Part, backward: bool) -> int:
        """Return the floating-point operations of a part of the distillation step."""
        return sum(one.flops for one in self.operations[DISTILLATION] if one.part == part and one.backward == backward)

    def sent(self, part: Part) -> int:
        """Return the bytes that a part sends; `update` are the student's gradients."""
        return sum(one.sent for one in self.operations[DISTILLATION] if one.part == part)

    def seconds(self, rates: Rates, ranks: int) -> dict[str, float]:
        """Return the time of each call by the rates of a device."""
        return {name: sum(rates.seconds(one, ranks) for one in done) for name, done in self.operations.items()}


def ratios(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the step's time over that of its floor.

    The floor is the student alone and the teacher, as in `cakd bench`; where there are anchors, the time over both together is another.
    """
    floor = sum(taken for kind, taken in seconds.items() if kind not in (ANCHOR, DISTILLATION))
    found = {"floor": seconds[DISTILLATION] / floor}
    if ANCHOR in seconds:
        found[f"(floor + {ANCHOR})"] = seconds[DISTILLATION] / (floor + seconds[ANCHOR])
    return found


def count(job: Job, head: HeadSize) -> Counts:
    """Run a step on tensors without data, and return what it does.

    The second step is counted, since an optimiser makes its state in the first.

    Args:
        job: of one rank.
        head: size of the head of all ranks.

    Raises:
        RunError: the step depends on values, so that it cannot be counted.
    """
    _check(job, head)
    maker = NoData()
    with ranks_that_answer_nothing(job.ranks):
        precision = "bf16" if job.on_gpu and job.precision == "fp16" else job.precision
        runs = timed_runs(job.recipe, job.student, job.batch, torch.device("cpu"), precision, head, maker)
        steps = [run for run in (runs[ALONE], runs[DISTILLATION]) if isinstance(run, TrainingStep)]
        if job.on_gpu:
            _as_on_gpu(steps)
        with maker.taken(runs.values(), "cpu"), blocks_of_a_gpu() if job.on_gpu else nullcontext():
            for step in steps:
                step()
            operations = {name: _operations(run, steps[-1], maker.head, job) for name, run in runs.items()}
            return Counts(operations, _memory(steps[-1], job.ranks))


def _check(job: Job, head: HeadSize) -> None:
    term = job.recipe.needs_prototypes
    if term is not None:
        raise RunError(
            f"cost: term '{term}' reads prototypes, which are not counted; expected a recipe without. Time it with `cakd bench`."
        )
    rows = int(head.sample_rate * (head.classes // job.ranks))
    if head.sample_rate < 1 and rows < job.batch * job.ranks:
        raise RunError(
            f"cost: {head.classes} classes at sample rate {head.sample_rate} are {rows} a rank, fewer than the {job.batch * job.ranks} "
            "images of all ranks, so that their labels decide how many are used; expected at least as many. Raise --sample-rate or "
            "--classes."
        )


def _as_on_gpu(steps: Sequence[TrainingStep]) -> None:
    """Let steps compute as they do on a GPU, though their tensors are the CPU's."""
    for step in steps:
        step.foreach = True
        for teacher in getattr(step.backbone, "teachers", {}).values():
            teacher.compute_in_half()
        for module in step.backbone.modules():
            if isinstance(module, PReLU):
                module.__class__ = nn.PReLU  # type: ignore[assignment]


def _operations(run: Run, distilling: TrainingStep, heads: type[nn.Module], job: Job) -> list[Operation]:
    parts = Parts()
    marks: dict[nn.Module, Part] = {}
    for teacher in distilling.backbone.teachers.values():  # type: ignore[operator]
        marks |= {teacher: "teacher", teacher.embedder: "teacher"}
    if isinstance(run, TrainingStep):
        marks |= {
            run.backbone: "method",
            run.head: "method",
            getattr(run.backbone, "backbone", run.backbone): "student",
        }
    counted = Operations(parts, job.ranks)
    with parts.marked(marks, heads), counted:
        run()
    return counted.done + (_gradients_sent(run, job) if isinstance(run, TrainingStep) else [])


def _gradients_sent(step: TrainingStep, job: Job) -> list[Operation]:
    """Return DDP's reduction of the student's gradients, which is not part of a step on fake ranks."""
    if job.ranks == 1:
        return []
    sent = ring_all_reduce(_trained_bytes(step), job.ranks)
    return [Operation("update", True, "gradients", "other", torch.float32, sent=sent)]


def _trained_bytes(step: TrainingStep) -> int:
    return sum(one.numel() * one.element_size() for one in step.backbone.parameters() if one.requires_grad)


def _memory(step: TrainingStep, ranks: int) -> dict[str, int]:
    """Run a step, and return the bytes at its peak by what they are for."""
    live = LiveTensors()
    with live, live.watching([*step.backbone.parameters(), *step.head.parameters()]):
        step()
    state = [one for values in step.optimizer.state.values() for one in values.values() if isinstance(one, Tensor)]
    held = tensors_of(step)
    rows = {getattr(step.head, "num_local", None), getattr(step.head, "num_classes", None)}
    centres = [one for one in held if one.ndim == 2 and len(one) in rows]
    # DDP keeps a second copy of the gradients, in buckets.
    buckets = _trained_bytes(step) if ranks > 1 else 0
    return {
        "weights": _size(held) - _size(centres),
        "gradients": live.gradients_at_peak + buckets,
        "optimiser": _size(state),
        "class centres": _size(centres),
        "activations": live.peak - live.gradients_at_peak,
    }


def _size(tensors: Sequence[Tensor]) -> int:
    storages = {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in tensors}
    return sum(storages.values())
