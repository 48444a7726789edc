"""Faults of a training run, fixed without a change of its results."""

import os
from contextlib import ExitStack
from typing import Any

import torch.distributed as dist

from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts.compat.fix import fix_for_every_version, wrapping
from insightface_cakd.hosts.compat.imports import after_import_of


def _use_no_port(stack: ExitStack) -> None:
    @wrapping(dist, "init_process_group", stack)
    def init_process_group(original: Any, *args: Any, **kwargs: Any) -> None:
        """Open a group of one process without a network address."""
        if kwargs.get("world_size") == 1 and str(kwargs.get("init_method")).startswith("tcp://127.0.0.1:"):
            del kwargs["init_method"]
            kwargs["store"] = dist.HashStore()
        original(*args, **kwargs)


class _Failed:
    """What the prefetch thread passes on in place of a batch."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _raise_in_consumer(thread: type) -> None:
    @wrapping(thread, "run")
    def run_or_fail(run: Any, self: Any) -> None:
        try:
            run(self)
        except Exception as error:
            self.queue.put(_Failed(error))

    @wrapping(thread, "next")
    def next_or_raise(take: Any, self: Any) -> Any:
        item = take(self)
        if isinstance(item, _Failed):
            raise one_line(item.error)
        return item


def one_line(error: BaseException) -> BaseException:
    """Return a user's mistake without the traceback that a loader's worker adds."""
    if isinstance(error, CAKDError) and "Traceback (most recent call last)" in str(error):
        return type(error)(str(error).strip().splitlines()[-1].partition(": ")[2])
    return error


FREE_PORT = fix_for_every_version(
    name="no-fixed-port",
    breaks="train_v2.py:33-38: port 12584 is fixed, so a second run on the machine stops",
    fix="a group of one process needs no port",
    until="arcface_torch chooses a free port",
    applies=lambda: None if "RANK" in os.environ else "one process, not under torchrun",
    apply=_use_no_port,
)
LOADER_ERRORS = fix_for_every_version(
    name="loader-errors",
    breaks="dataset.py:88-92: an exception in the prefetch thread ends the thread, and training waits for ever",
    fix="the exception is raised in the training loop",
    until="arcface_torch hands it over",
    apply=lambda stack: after_import_of(stack, "dataset", "BackgroundGenerator", _raise_in_consumer),
)
