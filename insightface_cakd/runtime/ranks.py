"""Rank and number of processes; 0 of 1 without a group."""

import torch.distributed as dist


def has_group() -> bool:
    """Return whether a default process group exists in this process."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the rank of this process, 0 without a process group."""
    return dist.get_rank() if has_group() else 0


def world_size() -> int:
    """Return the number of processes, 1 without a process group."""
    return dist.get_world_size() if has_group() else 1


def barrier() -> None:
    """Wait for all processes; nothing to wait for without a group."""
    if has_group():
        dist.barrier()
