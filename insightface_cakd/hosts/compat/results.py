"""Fixes that change arcface_torch's results: off unless requested by name."""

import functools
import os
import sys
from contextlib import ExitStack
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from insightface_cakd.hosts.compat.fix import fix_for_every_version, wrapping
from insightface_cakd.hosts.compat.imports import after_import_of


def _several_ranks() -> str | None:
    return "several ranks" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None


def _start_low(scheduler: type) -> None:
    """Let warm-up rise from the first step on.

    The rate is base * (i + 1) / (w + 1) for step i < w, from 0: it rises by base / (w + 1) per step.
    """

    @wrapping(scheduler, "get_lr")
    def get_lr(rates: Any, self: Any) -> list[float]:
        # The host's constructor asks for rates before it has set its own attributes.
        warmup = vars(self).get("warmup_iters", 0)
        if self.last_epoch >= warmup:
            return rates(self)
        return [base * (self.last_epoch + 1) / (warmup + 1) for base in self.base_lrs]

    @wrapping(scheduler, "__init__")
    def construct(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if self.last_epoch == 0 and self.warmup_iters > 0:
            self._last_lr = get_lr(self)
            for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
                group["lr"] = rate


def _divide_gradients(stack: ExitStack) -> None:
    """Start each backward pass, of margin loss and distillation, from 1 / gradient_acc."""

    @wrapping(Tensor, "backward", stack)
    def backward(original: Any, self: Tensor, gradient: Tensor | None = None, *args: Any, **kwargs: Any) -> None:
        base = sys.modules.get("configs.base")
        micro_steps = base.config.get("gradient_acc", 1) if base is not None else 1
        if gradient is None and micro_steps > 1:
            gradient = torch.full_like(self, 1 / micro_steps)
        original(self, gradient, *args, **kwargs)


def _own_centres(head: type) -> None:
    """Draw each rank's class centres from its own seed; the first rank keeps those it has."""

    @wrapping(head, "__init__")
    def construct(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if self.rank > 0:
            generator = torch.Generator().manual_seed(torch.initial_seed() + self.rank)
            with torch.no_grad():
                self.weight.normal_(0, 0.01, generator=generator)


def _average_statistics(stack: ExitStack) -> None:
    """Average batch norm's statistics where all ranks pass: before a verification and at the end of the data."""
    students: list[nn.Module] = []

    @wrapping(DistributedDataParallel, "__init__", stack)
    def construct(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        students.append(self.module)

    def average() -> None:
        for buffer in (buffer for student in students for buffer in student.buffers()):
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer.div_(dist.get_world_size())

    def at_the_end_of_data(loader: type) -> None:
        @wrapping(loader, "__next__")
        def next_or_end(original: Any, self: Any) -> Any:
            try:
                return original(self)
            except StopIteration:
                average()
                raise

    def before_verification(verification: type) -> None:
        @wrapping(verification, "__call__")
        def call(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
            average()
            return original(self, *args, **kwargs)

    stack.callback(students.clear)
    after_import_of(stack, "dataset", "DataLoaderX", at_the_end_of_data)
    after_import_of(stack, "utils.utils_callbacks", "CallBackVerification", before_verification)


_FIX = functools.partial(fix_for_every_version, changes_results=True)
FIRST_STEP_LR = _FIX(
    name="first-step-lr",
    breaks="lr_scheduler.py:19-20: with warm-up, the very first step uses the full learning rate",
    fix="warm-up rises from the first step on, by base / (warm-up steps + 1) a step",
    until="arcface_torch starts low",
    apply=lambda stack: after_import_of(stack, "lr_scheduler", "PolynomialLRWarmup", _start_low),
)
MEAN_GRADIENT = _FIX(
    name="mean-gradient",
    breaks="train_v2.py:186-198: gradient_acc sums gradients, so the clip at norm 5 and the learning rate see gradient_acc times as much",
    fix="gradients are divided by gradient_acc",
    until="arcface_torch divides",
    apply=_divide_gradients,
)
OWN_CENTRES = _FIX(
    name="own-centres",
    breaks="partial_fc_v2.py:71: every rank is seeded alike, so every shard starts with the same class centres",
    fix="each rank draws its own centres; the first rank keeps those it had",
    until="arcface_torch seeds them per rank",
    applies=_several_ranks,
    apply=lambda stack: after_import_of(stack, "partial_fc_v2", "PartialFC_V2", _own_centres),
)
MEAN_BATCH_NORM = _FIX(
    name="mean-batch-norm",
    breaks="train_v2.py:99: the first rank's batch-norm statistics alone are verified and saved",
    fix="they are averaged over ranks before each verification and at the end of each epoch (not with DALI)",
    until="arcface_torch averages or broadcasts them",
    applies=_several_ranks,
    apply=_average_statistics,
)
