"""The order of the training images, whatever the number of workers."""

import itertools
import random
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch.utils.data import Sampler


class EpochSampler(Sampler[int]):
    """A rank's images of an epoch, from any place on.

    What draws the order writes `order`, and may read `epoch`.
    """

    epoch = first = 0

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Set the epoch that determines the order of the next iteration.

        Args:
            epoch: number of the epoch.
            first: of this rank's images, to begin with.
        """
        self.epoch, self.first = epoch, first

    def __iter__(self) -> Iterator[int]:
        return itertools.islice(self.order(), self.first, None)

    def order(self) -> Iterable[int]:
        """Return this rank's images of the whole epoch."""
        raise NotImplementedError


class DistributedSampler(EpochSampler):
    """One rank's share of an epoch's image order.

    The order is a permutation seeded with seed + epoch, repeated to a multiple of the W ranks (`num_replicas`); rank k
    takes every W-th index from k on.
    """

    def __init__(self, length: int, num_replicas: int, rank: int, seed: int = 0) -> None:
        self.length = length
        self.num_replicas, self.rank = num_replicas, rank
        self.seed = seed

    def __len__(self) -> int:
        return -(-self.length // self.num_replicas)

    def order(self) -> list[int]:
        """Return this rank's images of the whole epoch."""
        order = torch.randperm(self.length, generator=torch.Generator().manual_seed(self.seed + self.epoch))
        total = len(self) * self.num_replicas
        repeated = order.repeat(-(-total // self.length))[:total]
        return repeated[self.rank :: self.num_replicas].tolist()


def setup_seed(seed: int) -> None:
    """Seed Python, NumPy and torch, with the same seed on every rank.

    Whatever must differ between ranks seeds itself.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
