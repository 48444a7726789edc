"""Fixes of arcface_torch's training that change its results.

Each is off unless requested by name, and printed when on.
"""

import functools
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from insightface_cakd.hosts.compat.fix import Fix, replace
from insightface_cakd.hosts.compat.imports import after_import


def _always() -> str:
    return "every version"


def _several_ranks() -> str | None:
    return "several ranks" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None


def _warm_up_from_the_first_step(stack: ExitStack) -> None:
    after_import(stack, "lr_scheduler", _start_low)


def _start_low(lr_scheduler: ModuleType) -> None:
    """Let warm-up rise from the first step on.

    The rate is base * (i + 1) / (w + 1) for step i < w, from 0: it rises by base / (w + 1) per step.
    """
    scheduler = getattr(lr_scheduler, "PolynomialLRWarmup", None)
    if scheduler is None:
        return
    construct, rates = scheduler.__init__, scheduler.get_lr

    @functools.wraps(rates)
    def get_lr(self: Any) -> list[float]:
        # The host's constructor asks for rates before it has set its own attributes.
        warmup = vars(self).get("warmup_iters", 0)
        if self.last_epoch >= warmup:
            return rates(self)
        return [base * (self.last_epoch + 1) / (warmup + 1) for base in self.base_lrs]

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        construct(self, *args, **kwargs)
        if self.last_epoch == 0 and self.warmup_iters > 0:
            self._last_lr = get_lr(self)
            for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
                group["lr"] = rate

    scheduler.__init__, scheduler.get_lr = __init__, get_lr


def _divide_gradients(stack: ExitStack) -> None:
    """Start each backward pass from 1 / gradient_acc.

    This covers margin loss and distillation, with and without a loss scaler.
    """
    original = Tensor.backward

    @functools.wraps(original)
    def backward(self: Tensor, gradient: Tensor | None = None, *args: Any, **kwargs: Any) -> None:
        base = sys.modules.get("configs.base")
        micro_steps = base.config.get("gradient_acc", 1) if base is not None else 1
        if gradient is None and micro_steps > 1:
            gradient = torch.full_like(self, 1 / micro_steps)
        original(self, gradient, *args, **kwargs)

    replace(stack, Tensor, "backward", backward)


def _draw_centres_per_rank(stack: ExitStack) -> None:
    after_import(stack, "partial_fc_v2", _own_centres)


def _own_centres(partial_fc_v2: ModuleType) -> None:
    """Draw the class centres of each rank from its own seed.

    The first rank keeps the centres it has.
    """
    head = getattr(partial_fc_v2, "PartialFC_V2", None)
    if head is None:
        return
    original = head.__init__

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        if self.rank > 0:
            generator = torch.Generator().manual_seed(torch.initial_seed() + self.rank)
            with torch.no_grad():
                self.weight.normal_(0, 0.01, generator=generator)

    head.__init__ = __init__


def _average_statistics(stack: ExitStack) -> None:
    """Average batch norm's running statistics over the ranks.

    It is done where all ranks pass: before each verification, and at the end of an epoch's data.
    """
    students: list[nn.Module] = []
    construct = DistributedDataParallel.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        construct(self, *args, **kwargs)
        students.append(self.module)

    def average() -> None:
        for buffer in (buffer for student in students for buffer in student.buffers()):
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer.div_(dist.get_world_size())

    replace(stack, DistributedDataParallel, "__init__", __init__)
    stack.callback(students.clear)
    after_import(stack, "dataset", functools.partial(_at_the_end_of_data, average=average))
    after_import(stack, "utils.utils_callbacks", functools.partial(_before_verification, average=average))


def _at_the_end_of_data(dataset: ModuleType, average: Callable[[], None]) -> None:
    loader = getattr(dataset, "DataLoaderX", None)
    if loader is None:
        return
    original = loader.__next__

    @functools.wraps(original)
    def next_or_end(self: Any) -> Any:
        try:
            return original(self)
        except StopIteration:
            average()
            raise

    loader.__next__ = next_or_end


def _before_verification(callbacks: ModuleType, average: Callable[[], None]) -> None:
    verification = getattr(callbacks, "CallBackVerification", None)
    if verification is None:
        return
    original = verification.__call__

    @functools.wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        average()
        return original(self, *args, **kwargs)

    verification.__call__ = __call__


FIRST_STEP_LR = Fix(
    name="first-step-lr",
    breaks="lr_scheduler.py:19-20: with warm-up, the very first step uses the full learning rate",
    since="every version",
    fix="warm-up rises from the first step on, by base / (warm-up steps + 1) a step",
    until="arcface_torch starts low",
    applies=_always,
    apply=_warm_up_from_the_first_step,
    changes_results=True,
)
MEAN_GRADIENT = Fix(
    name="mean-gradient",
    breaks="train_v2.py:186-198: gradient_acc sums gradients, so the clip at norm 5 and the learning rate see gradient_acc times as much",
    since="every version",
    fix="gradients are divided by gradient_acc",
    until="arcface_torch divides",
    applies=_always,
    apply=_divide_gradients,
    changes_results=True,
)
OWN_CENTRES = Fix(
    name="own-centres",
    breaks="partial_fc_v2.py:71: every rank is seeded alike, so every shard starts with the same class centres",
    since="every version",
    fix="each rank draws its own centres; the first rank keeps those it had",
    until="arcface_torch seeds them per rank",
    applies=_several_ranks,
    apply=_draw_centres_per_rank,
    changes_results=True,
)
MEAN_BATCH_NORM = Fix(
    name="mean-batch-norm",
    breaks="train_v2.py:99: the first rank's batch-norm statistics alone are verified and saved",
    since="every version",
    fix="they are averaged over ranks before each verification and at the end of each epoch (not with DALI)",
    until="arcface_torch averages or broadcasts them",
    applies=_several_ranks,
    apply=_average_statistics,
    changes_results=True,
)
