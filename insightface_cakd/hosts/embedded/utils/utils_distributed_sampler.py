"""The order of the training images."""

import random
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler


class DistributedSampler(Sampler[int]):
    """One rank's share of an epoch's image order.

    The order is a permutation seeded with seed + epoch, repeated to a multiple of the ranks; rank k of W takes every
    W-th index from k on.
    """

    def __init__(self, length: int, num_replicas: int, rank: int, seed: int = 0, shuffle: bool = True) -> None:
        self.length = length
        self.num_replicas, self.rank = num_replicas, rank
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that determines the order of the next iteration.

        Args:
            epoch: from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(self.length, generator=generator) if self.shuffle else torch.arange(self.length)
        total = len(self) * self.num_replicas
        repeated = order.repeat(-(-total // self.length))[:total]
        return iter(repeated[self.rank :: self.num_replicas].tolist())


def setup_seed(seed: int, cuda_deterministic: bool = True) -> None:
    """Seed Python, NumPy and torch, with the same seed on every rank.

    Whatever must differ between ranks seeds itself.

    Args:
        cuda_deterministic: also make cuDNN deterministic and switch off its benchmark mode.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if cuda_deterministic:
        cudnn = torch.backends.cudnn
        cudnn.benchmark, cudnn.deterministic = False, True
