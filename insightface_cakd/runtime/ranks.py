"""Rank and number of processes; 0 of 1 without a group."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch.distributed as dist

from insightface_cakd.errors import CAKDError

T = TypeVar("T")


def has_group() -> bool:
    """Return whether a default process group exists in this process."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the rank of this process, 0 without a process group."""
    return dist.get_rank() if has_group() else 0


def is_first_process() -> bool:
    """Return whether this process is torchrun's first, group or not."""
    return int(os.environ.get("RANK", "0")) == 0


def world_size() -> int:
    """Return the number of processes, 1 without a process group."""
    return dist.get_world_size() if has_group() else 1


def barrier() -> None:
    """Wait for all processes; nothing to wait for without a group."""
    if has_group():
        dist.barrier()


def gathered(value: T) -> list[T]:
    """Return the values of all ranks in their order, on every rank.

    Args:
        value: can be pickled; tensors are on the CPU.
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with _on_cpu() as group:
        dist.all_gather_object(values, value, group=group)
    return values


@contextmanager
def first_decides() -> Iterator[None]:
    """Raise on every rank what the block raises on the first.

    All ranks call it; only CAKDErrors are passed on. Otherwise the others would wait for the first one in their next collective.
    """
    failed: CAKDError | None = None
    try:
        yield
    except CAKDError as error:
        failed = error
    if world_size() > 1:
        said: list[CAKDError | None] = [failed]
        with _on_cpu() as group:
            dist.broadcast_object_list(said, src=0, group=group)
        failed = said[0]
    if failed is not None:
        raise failed


@contextmanager
def _on_cpu() -> Iterator[Any]:
    """Yield a group for objects: NCCL would need each rank's device."""
    group: Any = dist.new_group(backend="gloo")
    try:
        yield group
    finally:
        dist.destroy_process_group(group)
