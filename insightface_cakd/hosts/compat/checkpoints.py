"""Whole checkpoints of arcface_torch, for any number of ranks."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from insightface_cakd.hosts.compat.fix import fix_for_every_version, wrapping
from insightface_cakd.hosts.compat.imports import after_import_of
from insightface_cakd.hosts.generations import commit, has_keys, is_checkpoint, newest, settle
from insightface_cakd.hosts.resharding import for_this_rank
from insightface_cakd.runtime.ranks import world_size

RANKS = "world_size"


class _Schedule:
    """The length of the run that has begun, as its schedule is told."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.warmup: int | None = None

    def watch(self, scheduler: type) -> None:
        """Note what the loop plans, before it reads a checkpoint."""

        @wrapping(scheduler, "__init__")
        def construct(
            original: Any,
            self_: Any,
            optimizer: Any,
            warmup_iters: int,
            total_iters: int = 5,
            *args: Any,
            **kwargs: Any,
        ) -> None:
            self.total, self.warmup = total_iters, warmup_iters
            original(self_, optimizer, warmup_iters, total_iters, *args, **kwargs)

    def moved(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return a checkpoint at the same place in the epochs of this run, which have another number of steps."""
        saved = content["state_lr_scheduler"]
        if self.total is None or not saved.get("total_iters"):
            return content
        step = content["global_step"] * self.total // saved["total_iters"]
        lengths = {"total_iters": self.total, "warmup_iters": self.warmup}
        schedule = saved | lengths | {"last_epoch": step, "_step_count": step + 1}
        return content | {"global_step": step, "state_lr_scheduler": schedule}


def _whole_for_any_ranks(stack: ExitStack) -> None:
    schedule = _Schedule()
    after_import_of(stack, "lr_scheduler", "PolynomialLRWarmup", schedule.watch)

    @wrapping(torch, "save", stack)
    def save(original: Any, content: Any, file: Any, *args: Any, **kwargs: Any) -> None:
        if is_checkpoint(file) and has_keys(content):
            commit({**content, RANKS: world_size()}, Path(file).parent)
        else:
            original(content, file, *args, **kwargs)

    @wrapping(torch, "load", stack)
    def load(original: Any, file: Any, *args: Any, **kwargs: Any) -> Any:
        # The loop's own name of its checkpoint; other files are read by their paths.
        if schedule.total is None or not is_checkpoint(file):
            return original(file, *args, **kwargs)
        return _read(Path(file).parent, schedule)


def _read(output: Path, schedule: _Schedule) -> dict[str, Any]:
    generation = newest(output, "resume")
    content = for_this_rank(generation, "resume")
    if len(generation.files) != world_size():
        content = schedule.moved(content)
    settle(output, generation)
    return content


CHECKPOINTS = fix_for_every_version(
    name="checkpoints",
    breaks="train_v2.py:148, 225: a run killed while its ranks save goes on from a mixture of epochs; another number of ranks is refused",
    fix="a checkpoint is written by all ranks or none, and is divided among the ranks that go on",
    until="arcface_torch does so",
    apply=_whole_for_any_ranks,
)
