"""Processes that read for a loader, and how they fail."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from insightface_cakd.errors import RunError, in_one_line

# Seconds without a batch.
PATIENCE = 600


class ByName:
    """Lets a worker hand over batches by names of shared files.

    torch's default asks the worker for each batch, without a limit: a worker that stops in between would be waited for for ever.

    Args:
        then: called in the worker afterwards.
    """

    def __init__(self, then: Callable[[int], Any] | None = None) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        """Begin a worker, as a loader's `worker_init_fn`."""
        import torch

        torch.multiprocessing.set_sharing_strategy("file_system")
        if self.then is not None:
            self.then(worker)


def workers_with_patience(workers: int, then: Callable[[int], Any] | None = None) -> dict[str, Any]:
    """Return settings of a loader that waits `PATIENCE` seconds at most.

    Args:
        workers: reading processes, of which none is needed.
        then: the loader's own `worker_init_fn`.
    """
    return {"timeout": PATIENCE if workers else 0, "worker_init_fn": ByName(then) if workers else then}


@contextmanager
def worker_failures(none: str = "num_workers=0", again: str = "go on with --resume") -> Iterator[None]:
    """Say in one line that a worker failed, and end the others.

    torch raises such an error wherever the run is at that moment, not only where it reads.

    Args:
        none: what a user gives to read without workers, `NAME=0` or `NAME 0`.
        again: how the work is continued.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader" not in str(error):
            raise
        _end_workers()
        raise RunError(
            f"{none[:-2]}: {in_one_line(error)[:300]}; expected workers that live as long as the run. Look for a lack of memory, /dev/shm "
            f"included, or for somebody who stopped them, then {again}; {none} reads without workers."
        ) from error


def _end_workers() -> None:
    """Kill the processes that end with this one: it would wait for a stopped one."""
    for worker in multiprocessing.active_children():
        # A loader's are daemons.
        if worker.daemon:
            # torch raises once more that a worker was killed.
            with suppress(RuntimeError):
                worker.kill()
                worker.join()
