"""The device of this process, and the process group of several."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from insightface_cakd.errors import RunError

# Rank 0 verifies while the others wait in the head's next collective.
TIMEOUT = timedelta(hours=2)


def choose_device(name: str | None) -> torch.device:
    """Return the device of this process.

    Without a name, the first available of cuda, mps and cpu is used. Under torchrun, cuda means the GPU of LOCAL_RANK.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RunError(
            f"device '{name}': not a device; expected cuda, mps or cpu. Correct it or leave it out."
        ) from error
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not available.get(device.type, False):
        there = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise RunError(
            f"device '{name}': not available on this machine; there is: {there}. Leave it out to use the best."
        )
    if device.type == "cuda":
        device = torch.device(
            "cuda", device.index if device.index is not None else int(os.environ.get("LOCAL_RANK", "0"))
        )
        torch.cuda.set_device(device)
    return device


def describe_machine() -> str:
    """Return one line: system, processor cores, GPUs, Python and torch."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    parts = [f"{platform.system()} {platform.machine()}", f"{os.cpu_count()} CPU cores", *gpus]
    return ", ".join([*parts, f"Python {platform.python_version()}", f"torch {torch.__version__}"])


@contextmanager
def process_group(device: torch.device | None = None) -> Iterator[None]:
    """Open the process group of torchrun's environment, and close it afterwards.

    Does nothing for a single process, or when a group is already open. NCCL for cuda, Gloo for cpu, none for mps; without a
    device, for both of those that the machine has.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or dist.is_initialized():
        yield
        return
    if device is not None and device.type == "mps":
        raise RunError(
            f"device mps: WORLD_SIZE is {world}, but mps has no communication backend; expected 1. Set device=cpu."
        )
    if device is None:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    else:
        backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()
