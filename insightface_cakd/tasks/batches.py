"""Batches of a task's own data, as a loop's loader."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from insightface_cakd.errors import DataError, RunError
from insightface_cakd.hosts.embedded.dataset import collate, open_faces
from insightface_cakd.hosts.embedded.utils.utils_distributed_sampler import DistributedSampler
from insightface_cakd.recipe.schedule import Length
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks.task import DataRequest, Task


class TaskBatches(DataLoader[Any]):
    """Batches `[images, target]` on the device, as a loop's loader.

    Images are float32 RGB in [-1, 1], the target as the data set gives it. The class is a `DataLoader`, since arcface_torch's loop sets the
    epoch on the sampler of a `DataLoader`. The last incomplete batch is left out.

    Args:
        dataset: items (uint8 (3, H, W), target), or a `DataError` in place of one; may have an `epoch` tensor.
        request: what the loop asks for.
        sampler: this rank's order of the images; None shuffles them.

    Raises:
        RunError: there is less than one batch for each rank.
    """

    def __init__(self, dataset: Dataset[Any], request: DataRequest, sampler: DistributedSampler | None = None) -> None:
        count = len(dataset)  # type: ignore[arg-type]
        sampler = sampler or EpochSampler(dataset, count, request.seed)
        if len(sampler) < request.batch_size:
            raise RunError(
                f"{request.folder}: {len(sampler)} images per rank; expected at least one batch of {request.batch_size}. Lower batch_size."
            )
        super().__init__(
            dataset,
            batch_size=request.batch_size,
            sampler=sampler,
            num_workers=request.workers,
            drop_last=True,
            collate_fn=collate,
            pin_memory=request.device.type == "cuda",
            persistent_workers=request.workers > 0,
        )
        self.device = request.device

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order and augmentation.

        Args:
            epoch: number of the epoch, from 0.
        """
        self.sampler.set_epoch(epoch)  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[list[Tensor]]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, DataError):
                raise batch
            pixels, target = (part.to(self.device, non_blocking=True) for part in batch)
            yield [pixels.float().div_(127.5).sub_(1), target]


class EpochSampler(DistributedSampler):
    """This rank's part of a shuffled epoch, which the data set learns."""

    def __init__(self, dataset: Any, count: int, seed: int) -> None:
        super().__init__(count, world_size(), rank(), seed)
        self.dataset = dataset

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, also of the data set."""
        super().set_epoch(epoch)
        if hasattr(self.dataset, "epoch"):
            self.dataset.epoch.fill_(epoch)


def embedded_length(cfg: Any, task: Task, ranks: int) -> Length:
    """Return the length of a run on the embedded host."""
    images = cfg.num_image if task.has_own_data else len(open_faces(str(cfg.rec)))
    return Length(-(-images // ranks) // cfg.batch_size, cfg.num_epoch)
