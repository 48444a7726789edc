"""Memory in which workers hand over pixels, batch after batch."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from insightface_cakd.data.images import FACE_SHAPE
from insightface_cakd.errors import RunError

# Batches that each worker reads in advance.
PREFETCH = 2


class Turn(NamedTuple):
    """Where a worker has put a batch."""

    worker: int
    place: int


class SharedPixels:
    """Places for batches, shared with workers and used again.

    New shared memory for each batch costs half as much as decoding it: the system clears its pages, and both sides ask for them one by
    one. Here the pages are asked for once, and only a place's number goes from a worker to the run.

    A worker has one place more than it reads in advance. A loader asks it for another batch only when the run comes for the next one,
    so the last batch that was handed out is whole until then, and no longer.

    Args:
        workers: reading processes; with 0 the run itself reads, into one place.
        batch: images of a batch.

    Raises:
        RunError: there is not enough shared memory.
    """

    def __init__(self, workers: int, batch: int) -> None:
        self._places = PREFETCH + 1 if workers else 1
        shape = (max(1, workers), self._places, batch, *FACE_SHAPE)
        try:
            self._pixels = torch.empty(shape, dtype=torch.uint8)
            if workers:
                self._pixels.share_memory_()
        except RuntimeError as error:
            raise RunError(
                f"num_workers: no shared memory for {workers} workers with batches of {batch}; expected {math.prod(shape) >> 20} MiB. Make "
                "/dev/shm larger, or lower num_workers or batch_size; num_workers=0 needs none."
            ) from error
        # Of this process: each worker counts its own.
        self._taken = 0

    def take(self) -> tuple[Turn, np.ndarray]:
        """Return this process's next place, and its bytes to write.

        Shape:
            (batch, 112, 112, 3), uint8.
        """
        worker = get_worker_info()
        turn = Turn(0 if worker is None else worker.id, self._taken % self._places)
        self._taken += 1
        return turn, self.at(turn).numpy()

    def at(self, turn: Turn) -> Tensor:
        """Return the pixels at a place.

        Args:
            turn: as a worker got it.
        """
        return self._pixels[turn.worker, turn.place]
