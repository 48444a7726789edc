"""Faces in batches of a fixed size, decoded by workers where asked."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from torch.utils.data import DataLoader, Dataset

from insightface_cakd.data.aligned_faces import AlignedFaces
from insightface_cakd.data.images import FACE_SHAPE
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.workers import worker_failures, workers_with_patience

BATCH = 64
# Batches for which a process is worth starting.
WORTH = 8


class FaceBatches(Sequence[np.ndarray]):
    """Faces as a sequence of batches, in their order.

    Each is uint8 (B, 112, 112, 3). The last may be smaller. A batch is decoded when it is asked for.

    Args:
        faces: the images.
        size: B.
    """

    def __init__(self, faces: AlignedFaces, size: int = BATCH) -> None:
        self.faces = faces
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.faces) // self.size)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self.size
        batch = np.empty((min(self.size, len(self.faces) - start), *FACE_SHAPE), np.uint8)
        for place, pixels in enumerate(batch, start=start):
            self.faces.read_into(place, pixels)
        return batch


def read_ahead(batches: Sequence[Any], numbers: Sequence[int], workers: int = 0) -> Iterator[Any]:
    """Yield batches by their numbers, in that order.

    Args:
        batches: all of them.
        numbers: those that are wanted.
        workers: processes that read them beside this one, at most; 0 reads here.

    Raises:
        DataError: an image cannot be read; or as `worker_failures`.
    """
    workers = min(workers, len(numbers) // WORTH)
    if not workers:
        yield from (batches[number] for number in numbers)
        return
    loader = DataLoader(
        _Read(batches), batch_size=None, sampler=list(numbers), num_workers=workers, **workers_with_patience(workers)
    )
    with worker_failures("--readers 0", "run it again"):
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            yield batch


class _Read(Dataset[Any]):
    """Hands an error over as an item: it arrives as one line, not as a worker's traceback."""

    def __init__(self, batches: Sequence[Any]) -> None:
        self.batches = batches

    def __getitem__(self, number: int) -> Any:
        try:
            return self.batches[number]
        except DataError as error:
            return error
