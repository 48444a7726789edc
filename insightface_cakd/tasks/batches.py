"""Batches of a task's own data, as a loop's loader."""

import itertools
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.dataset import Batches, loader_settings, open_faces
from insightface_cakd.hosts.embedded.read_batch import read_batches
from insightface_cakd.hosts.embedded.utils.utils_distributed_sampler import DistributedSampler
from insightface_cakd.recipe.schedule import Length
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks.task import DataRequest, Task


class TaskBatches(DataLoader[Any]):
    """Batches `[images, target]` on the device, as a loop's loader.

    Images are float32 RGB in [-1, 1], the target as the data set gives it. The class is a `DataLoader`, since arcface_torch's loop sets the
    epoch on the sampler of a `DataLoader`. The last incomplete batch is left out.

    Args:
        dataset: items (uint8 (3, H, W), target), or a `DataError` in place of one, or whole batches, see `Read`;
            may have an `epoch` tensor.
        request: what the loop asks for.
        order: this rank's images of an epoch, with a length and `set_epoch(epoch, first)`; a share of all in random order when not given.

    Raises:
        RunError: there is less than one batch for each rank.
    """

    def __init__(self, dataset: Dataset[Any], request: DataRequest, order: Any | None = None) -> None:
        if order is None:
            order = DistributedSampler(len(dataset), world_size(), rank(), request.seed)  # type: ignore[arg-type]
        sampler = _EpochSampler(dataset, order)
        if len(sampler) < request.batch_size:
            raise RunError(
                f"{request.folder}: {len(sampler)} images per rank; expected at least one batch of {request.batch_size}. Lower batch_size."
            )
        super().__init__(
            dataset,
            batch_size=request.batch_size,
            sampler=sampler,
            **loader_settings(request.seed, request.workers),
        )
        self.device = request.device

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch's order and augmentation.

        Args:
            epoch: number of the epoch, from 0.
            first: the batch to begin with.
        """
        self.sampler.set_epoch(epoch, first * (self.batch_size or 1))  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[list[Tensor]]:  # type: ignore[override]
        for read in read_batches(super().__iter__(), getattr(self.dataset, "shared", None)):
            yield read.on(self.device)


class _EpochSampler(Sampler[int]):
    """An order whose epoch the data set learns too."""

    def __init__(self, dataset: Any, order: Any) -> None:
        self.dataset, self.order = dataset, order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch, also of the data set, and the image to begin with."""
        self.order.set_epoch(epoch, first)
        if hasattr(self.dataset, "epoch"):
            self.dataset.epoch.fill_(epoch)


class EpochOrder(Sampler[int]):
    """Knows the epoch of batches that are made, not read.

    Args:
        count: images of an epoch.
    """

    def __init__(self, count: int) -> None:
        self.count, self.epoch, self.first = count, 0, 0

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch, and the batch to begin with.

        Args:
            epoch: from 0.
            first: from 0.
        """
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


def over_and_over(loader: Batches, epoch: int, first: int, count: int) -> Iterator[list[Tensor]]:
    """Yield the batches `first` to `count` of an epoch that others measure.

    A loader that has fewer begins anew, in another order; what it gives depends on the arguments alone.

    Args:
        loader: of this rank.
        epoch: number of the epoch, from 0.
        first: the batch to begin with.
        count: batches of an epoch.
    """
    turns = -(-count // len(loader))
    begun, skipped = divmod(first, len(loader))
    left = count - first
    for turn in range(begun, turns):
        loader.set_epoch(epoch * turns + turn, skipped if turn == begun else 0)
        yield from itertools.islice(loader, left)
        left -= len(loader) - (skipped if turn == begun else 0)


def embedded_length(cfg: Any, task: Task, ranks: int) -> Length:
    """Return the length of a run on the embedded host."""
    images = cfg.num_image if task.has_own_data else len(open_faces(str(cfg.rec)))
    return Length(-(-images // ranks) // cfg.batch_size, cfg.num_epoch)
