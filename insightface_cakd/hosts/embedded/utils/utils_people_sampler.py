"""Batches of several images of each of several people."""

from collections.abc import Iterator

import numpy as np

from insightface_cakd.errors import DataError
from insightface_cakd.hosts.embedded.utils.utils_distributed_sampler import EpochSampler


class PeopleSampler(EpochSampler):
    """A rank's batches of P people with K images each.

    No person is in two places of one step, on whatever rank. The epoch's order is drawn with seed + epoch: people in random order, over and
    over; of each, K different images, or all of them and some again where there are fewer. People of one image are left out, for they make
    no pair.

    Args:
        labels: (N,), the person of every image.
        people: P, of a rank's batch.
        images: K, of each person.
        num_replicas: number of ranks.
        rank: of this process.
        seed: of the order.

    Attributes:
        left_out: number of people with one image.

    Raises:
        DataError: fewer people with two images than a step of all ranks needs.
    """

    def __init__(self, labels: np.ndarray, people: int, images: int, num_replicas: int, rank: int, seed: int) -> None:
        order = np.argsort(labels, kind="stable")
        _, starts = np.unique(labels[order], return_index=True)
        groups = np.split(order, starts[1:])
        self.groups = [group for group in groups if len(group) > 1]
        self.left_out = len(groups) - len(self.groups)
        self.people, self.images = people, images
        self.num_replicas, self.rank, self.seed = num_replicas, rank, seed
        step = people * num_replicas
        if len(self.groups) < step:
            raise DataError(
                f"people: {len(self.groups)} with two images or more, {self.left_out} with one; expected {step} for a step of "
                f"{num_replicas} x {people}. Lower batch_size, or add images."
            )
        # As many steps as an ordinary epoch has.
        self.steps = max(1, -(-len(labels) // num_replicas) // (people * images))

    def __len__(self) -> int:
        return self.steps * self.people * self.images

    def order(self) -> Iterator[int]:
        """Yield the images of people in random order, batch by batch."""
        random = np.random.default_rng((self.seed, self.epoch))
        step = self.people * self.num_replicas
        queue: list[int] = []
        for _ in range(self.steps):
            # A step never reaches into the next permutation, where somebody might come again.
            queue = queue if len(queue) >= step else random.permutation(len(self.groups)).tolist()
            chosen, queue = queue[:step], queue[step:]
            drawn = [self._images(self.groups[person], random) for person in chosen]
            for images in drawn[self.rank :: self.num_replicas]:
                yield from images

    def _images(self, group: np.ndarray, random: np.random.Generator) -> list[int]:
        most = min(self.images, len(group))
        first = random.choice(group, most, replace=False)
        return [*first.tolist(), *random.choice(group, self.images - most).tolist()]
