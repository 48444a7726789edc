"""Batches that a generator makes: fresh faces, then harder ones near them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.dataset import get_dataloader
from insightface_cakd.networks.generators import Generator, resampled
from insightface_cakd.runtime.ranks import rank
from insightface_cakd.tasks.batches import EpochOrder, over_and_over
from insightface_cakd.tasks.speeds import Speeds
from insightface_cakd.tasks.task import DataRequest

# What a batch draws, each from a seed of its own.
LATENTS, NOISE, SYNTHESIS = range(3)


@dataclass
class Exchange:
    """What batches and step tell each other.

    Args:
        every: steps between two lines in the log.
        step: number of the batch that was given last, from 0, over all epochs.
        generated: how many of its images are generated; they come first.
        similarity: (generated,), c of the batch; None before it was computed.
    """

    every: int = 10
    step: int = 0
    generated: int = 0
    similarity: Tensor | None = None
    speeds: Speeds = field(default_factory=Speeds)

    @property
    def fresh(self) -> bool:
        """Whether the batch was of fresh latents, to be drawn again."""
        return self.step % 2 == 0


class GeneratedBatches(DataLoader[int]):
    """Batches `[images, target]` on the device, two for each draw of latents.

    Even batches are x = G(w), w = M(z), z ~ N(0, 1); each odd one is G(w + c lambda n) of the batch before it, where c is what student
    and teacher said of that batch. So the two optimiser steps of SynthDistill are two steps of the loop. An epoch has an even number of
    batches, and what is drawn depends on seed, epoch, batch and rank alone: a run that continues sees what it would have seen.

    The class is a `DataLoader`, since arcface_torch's loop sets the epoch on the sampler of a `DataLoader`. The target is 0: nobody.

    Args:
        generator: of the generated images; None where all are real.
        request: what the loop asks for; its folder holds the real images, if any.
        pairs: of batches an epoch.
        strength: lambda.
        real: images of a batch that are real; they come last.
        exchange: how the similarity of a batch gets here.
    """

    # A batch of resampled faces needs the one before it.
    together = 2

    def __init__(
        self,
        generator: Generator | None,
        request: DataRequest,
        pairs: int,
        strength: float,
        real: int,
        exchange: Exchange,
    ) -> None:
        sampler = EpochOrder(2 * pairs * request.batch_size)
        # The data set is never read: batches are made in `__iter__`.
        super().__init__(range(len(sampler)), request.batch_size, sampler=sampler, drop_last=True)  # type: ignore[arg-type]
        self.generator, self.request, self.strength = generator, request, strength
        self.real, self.exchange = real, exchange
        self.loader = None
        if real:
            self.loader = get_dataloader(
                str(request.folder), 0, real, seed=request.seed, num_workers=request.workers, device=request.device
            )

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch, on which all draws depend.

        Args:
            epoch: number of the epoch, from 0.
            first: the batch to begin with, an even number.
        """
        self.sampler.set_epoch(epoch, first)  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[list[Tensor]]:  # type: ignore[override]
        epoch, first = self.sampler.epoch, self.sampler.first  # type: ignore[attr-defined]
        exchange, count = self.exchange, self.request.batch_size - self.real
        real, w = None if self.loader is None else over_and_over(self.loader, epoch, first, len(self)), None
        for index in range(first, len(self)):
            exchange.speeds.begin(self.request.device)
            exchange.step, exchange.generated = epoch * len(self) + index, count
            parts = []
            if self.generator is not None:
                w = self._near(w, epoch, index) if index % 2 else self._fresh(count, epoch, index)
                parts.append(self.generator.synthesis(w, _seed(self.request.seed, epoch, index, SYNTHESIS)))
            exchange.similarity = None
            exchange.speeds.generated(count)
            parts += [next(real)[0]] if real is not None else []
            images = torch.cat(parts)
            yield [images, images.new_zeros(len(images))]

    def _fresh(self, count: int, epoch: int, index: int) -> Tensor:
        assert self.generator is not None
        return self.generator.mapping(self._normal((count, self.generator.width), epoch, index, LATENTS))

    def _near(self, w: Tensor | None, epoch: int, index: int) -> Tensor:
        """Return w' of the batch before."""
        assert w is not None
        similarity = self.exchange.similarity
        if similarity is None:
            raise RunError(
                f"task synthetic: batch {index} of epoch {epoch} is asked for before student and teacher saw the one before it; expected a "
                "loop that trains on each batch before it takes the next. Read the batches one by one."
            )
        return resampled(w, similarity, self.strength, self._normal((len(w), w.shape[-1]), epoch, index, NOISE))

    def _normal(self, shape: tuple[int, int], epoch: int, index: int, what: int) -> Tensor:
        """Return normal numbers, drawn on the CPU so that every device gets the same."""
        drawn = torch.Generator().manual_seed(_seed(self.request.seed, epoch, index, what))
        return torch.randn(shape, generator=drawn).to(self.request.device, non_blocking=True)


def pairs_of(images: int, batch_size: int, ranks: int) -> int:
    """Return how many pairs of batches an epoch has.

    Raises:
        RunError: not even one.
    """
    pairs = images // (2 * batch_size * ranks)
    if pairs < 1:
        raise RunError(
            f"task synthetic: {images} images an epoch; expected at least {2 * batch_size * ranks}, two batches of {batch_size} on each of "
            f"{ranks} ranks. Set task.images, or lower batch_size."
        )
    return pairs


def _seed(seed: int, epoch: int, index: int, what: int) -> int:
    return int(np.random.SeedSequence((seed, epoch, index, rank(), what)).generate_state(1, np.uint64)[0] >> 1)
