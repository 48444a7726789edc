"""Identification with images without a label, or with none that has one."""

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from insightface_cakd.data.label_order import LabelOrder
from insightface_cakd.data.unlabelled import UnlabelledFaces
from insightface_cakd.distill.sources import Setting, Source
from insightface_cakd.errors import RecipeError
from insightface_cakd.hosts.embedded.dataset import Batches, batches_of, get_dataloader, open_faces
from insightface_cakd.tasks.batches import EpochOrder, over_and_over
from insightface_cakd.tasks.task import DataRequest, Task
from insightface_cakd.tasks.terms_only import TermsOnly, require_teaching


class Unlabelled(Task):
    """Let a teacher teach on images of nobody.

    Each batch has images of `rec` and, behind them, images of another folder, whose label is -1. The margin loss is the mean over the
    labelled rows alone; the terms of the recipe see all rows. With `share: 1` there is no labelled row and no margin: the images are those
    of `rec`, whatever their labels, and the terms are the whole loss.

    An epoch goes once through the labelled images; the others come over and over, or some of them not at all. Every rank has the same
    share of both.

    Args:
        data: folder of aligned images, at any depth, or with train.rec, whose labels are not read; None with `share: 1`.
        share: of a batch that is not labelled, in (0, 1].

    Raises:
        RecipeError: `share` is out of range, or does not go with `data`.
    """

    name = "unlabelled"
    has_identities = False

    def __init__(self, data: str | None = None, share: float = 0.5) -> None:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise RecipeError(f"share is {share!r}; expected a number above 0, at most 1. Correct it.")
        if (data is None) != (share == 1):
            said = "no data for" if data is None else f"data {data} and"
            raise RecipeError(
                f"{said} share {share:g}; expected data for a share below 1, and none for 1, where all images are those of rec. Give one."
            )
        self.folder, self.share = data, float(share)
        self._listed: UnlabelledFaces | None = None

    def fill(self, cfg: Any) -> None:
        """Set the numbers of classes and of images; open the unlabelled ones.

        Args:
            cfg: of the run.
        """
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        if self.folder is None:
            cfg.num_classes, cfg.num_image = max(2, ranks), len(self._unlabelled(cfg.rec))
            return
        labelled, faces = cfg.batch_size - self._rows(cfg.batch_size), open_faces(str(cfg.rec))
        # Listed now, so that a wrong folder is told before the run.
        self._unlabelled(cfg.rec)
        cfg.num_classes = int(cfg.get("num_classes") or faces.num_classes)
        # Both hosts plan their steps as images by batch.
        cfg.num_image = -(-len(faces) // ranks) // labelled * cfg.batch_size * ranks

    def data(self, request: DataRequest) -> "PartlyLabelled":
        """Return batches: images (B, 3, 112, 112), labels (B,), -1 without one.

        Args:
            request: of the loop.
        """
        rows = self._rows(request.batch_size)
        labelled = None
        if self.folder is not None:
            labelled = get_dataloader(
                str(request.folder),
                0,
                request.batch_size - rows,
                seed=request.seed,
                num_workers=request.workers,
                device=request.device,
            )
        faces, place = self._unlabelled(request.folder), str(self.folder or request.folder)
        others = batches_of(faces, place, rows, request.seed, request.workers, request.device)
        return PartlyLabelled(labelled, others, request.batch_size)

    def head(self, host_head: type[nn.Module]) -> type[nn.Module]:
        """Return the host's head for the labelled rows; none without them.

        Args:
            host_head: the host's.
        """
        if self.folder is None:
            return TermsOnly
        rows = self._rows

        class LabelledHead(host_head):  # type: ignore[misc, valid-type]
            """The host's loss of the first rows."""

            def forward(self, answer: Tensor, target: Tensor) -> Tensor:
                """Return the scalar loss for (B, D) and (B,)."""
                labelled = len(target) - rows(len(target))
                return super().forward(answer[:labelled], target[:labelled])

        return LabelledHead

    def sources(self, setting: Setting) -> list[Source]:
        """Return none; check that something teaches.

        Args:
            setting: of the run.
        """
        if self.folder is None:
            require_teaching(setting, self.name)
        return []

    def _unlabelled(self, rec: Any) -> UnlabelledFaces:
        """Return the images without a label; their folder is listed once."""
        if self._listed is None:
            self._listed = UnlabelledFaces(self.folder or str(rec))
        return self._listed

    def _rows(self, batch_size: int) -> int:
        """Return how many images of a batch have no label."""
        rows = round(self.share * batch_size)
        if self.folder is not None and not 0 < rows < batch_size:
            raise RecipeError(
                f"task unlabelled: share is {self.share}, {rows} images of a batch of {batch_size}; expected some of both. Correct it, or "
                "raise batch_size."
            )
        return rows


class PartlyLabelled(DataLoader[int]):
    """Batches `[images, labels]` on the device: labelled ones, if any, then others.

    The class is a `DataLoader`, since arcface_torch's loop sets the epoch on the sampler of a `DataLoader`.
    """

    def __init__(self, labelled: Batches | None, others: Batches, batch_size: int) -> None:
        order = EpochOrder(len(others if labelled is None else labelled) * batch_size)
        # The data set is never read: batches are made in `__iter__`.
        super().__init__(range(len(order)), batch_size, sampler=order, drop_last=True)  # type: ignore[arg-type]
        self.order, self.labelled, self.others = order, labelled, others

    def label_order(self, data: str) -> LabelOrder | None:
        """Return the identity of the labels.

        Args:
            data: where the labelled images are.
        """
        return None if self.labelled is None else self.labelled.label_order(data)

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch, on which order and flips depend.

        Args:
            epoch: number of the epoch, from 0.
            first: the batch to begin with.
        """
        self.order.set_epoch(epoch, first)

    def __iter__(self) -> Iterator[list[Tensor]]:  # type: ignore[override]
        epoch, first = self.order.epoch, self.order.first
        if self.labelled is None:
            self.others.set_epoch(epoch, first)
            yield from self.others
            return
        self.labelled.set_epoch(epoch, first)
        others = over_and_over(self.others, epoch, first, len(self))
        for ours, theirs in zip(self.labelled, others, strict=False):
            yield [torch.cat([one, other]) for one, other in zip(ours, theirs, strict=True)]
