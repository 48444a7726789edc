"""Real gloo processes for tests: never a mocked collective."""

import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

# Three ranks divide batches and classes unevenly. The fast suite has two of them for the seam, the gather and the head
# (QUICK_RANKS), and the slow one all of it.
QUICK_RANKS = [2, pytest.param(3, marks=pytest.mark.slow)]
RANKS = [pytest.param(world, marks=pytest.mark.slow) for world in (2, 3)]


# Each rank is a copy of a process that has imported what most tests import: a start takes milliseconds instead of seconds.
multiprocessing.set_forkserver_preload(
    ["torch.distributed", "insightface_cakd.tasks.seam", "insightface_cakd.hosts.embedded.train_v2"]
)


def run_ranks(function: Callable[..., Any], world: int, *args: Any) -> list[Any]:
    """Run `function(*args)` in `world` processes of one gloo group and return what each rank returned, in rank order.

    Args:
        function: importable by name, since it is sent to other processes.
        world: number of processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(_rank, (function, world, folder, args), nprocs=world, join=True, start_method="forkserver")
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world)]


def _rank(rank: int, function: Callable[..., Any], world: int, folder: str, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    try:
        torch.save(function(*args), Path(folder) / f"{rank}.pt")
        # A rank that leaves while another is still connecting would break the other's rendezvous.
        dist.barrier()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        dist.destroy_process_group()
