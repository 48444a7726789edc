"""The order of the training images, whatever the number of workers."""

import random
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler


class DistributedSampler(Sampler[int]):
    """One rank's share of an epoch's image order.

    The order is a permutation seeded with seed + epoch, repeated to a multiple of the W ranks (`num_replicas`); rank k
    takes every W-th index from k on.
    """

    def __init__(self, length: int, num_replicas: int, rank: int, seed: int = 0) -> None:
        self.length = length
        self.num_replicas, self.rank = num_replicas, rank
        self.seed = seed
        self.epoch = self.first = 0

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Set the epoch that determines the order of the next iteration.

        Args:
            epoch: number of the epoch.
            first: of this rank's images, to begin with.
        """
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        return -(-self.length // self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order()[self.first :])

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
