"""Counts and sums above a value of each row, in chunks."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from insightface_cakd.losses.classes import ClassAxis

Compare = Callable[[Tensor, Tensor], Tensor]
# Chunks do not get smaller than this many entries: below it, launching costs more than memory.
ENTRIES = 2**18


class Weights(Protocol):
    """What is added up above a threshold."""

    def where(self, compare: Compare, value: Tensor) -> Tensor:
        """Return the weight of this rank's entries beyond a value, own excluded."""

    def of(self, value: Tensor) -> Tensor:
        """Return the weight of one entry with this logit, (N, 1)."""


class Counts(Weights):
    """Every class weighs 1.

    Args:
        entries: (N, n), entries of each row; the k largest suffice if no more than k are ever asked for.
        own: (N, 1), the own classes' logits, NaN where another rank has them.
    """

    def __init__(self, entries: Tensor, own: Tensor) -> None:
        self.entries, self.own = entries, own

    def where(self, compare: Compare, value: Tensor) -> Tensor:
        """Count."""
        return count(self.entries, self.own, compare, value)

    def of(self, value: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(value, dtype=torch.float64)


class Masses(Weights):
    """A class weighs exp((z - shift) / temperature) / total.

    Args:
        logits: (N, n).
        own: (N, 1), the own classes' logits, NaN where another rank has them.
    """

    def __init__(self, logits: Tensor, own: Tensor, temperature: float, classes: ClassAxis) -> None:
        self.logits, self.own, self.temperature = logits, own, temperature
        self.shift = classes.max(logits)
        self.masses = ((logits - self.shift) / temperature).exp_()
        self.total = classes.sum(self.masses).double()

    def where(self, compare: Compare, value: Tensor) -> Tensor:
        """Add up."""
        parts = [
            (compare(self.logits[rows], value[rows]) * self.masses[rows]).sum(dim=1, keepdim=True)
            for rows in row_chunks(self.logits)
        ]
        return torch.cat(parts) / self.total - torch.where(compare(self.own, value), self.of(self.own), 0)

    def of(self, value: Tensor) -> Tensor:
        """Return the probability of a logit."""
        return ((value - self.shift) / self.temperature).double().exp() / self.total


class Values(Weights):
    """Entries, all >= 0, weigh their own value.

    No class is a sample's own.

    Args:
        entries: (N, n).
    """

    def __init__(self, entries: Tensor) -> None:
        self.entries = entries

    def where(self, compare: Compare, value: Tensor) -> Tensor:
        """Add up."""
        return (compare(self.entries, value) * self.entries).sum(dim=1, keepdim=True, dtype=torch.float64)

    def of(self, value: Tensor) -> Tensor:
        """Return the entry."""
        return value.double()


def highest(holds: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Return the largest numbers (N, 1) for which `holds` is true.

    It is true for all smaller ones too. Found by bisection over the bits; `like` has the result's shape and type.
    """
    low = _ordered(torch.full_like(like, -torch.inf))
    high = _ordered(torch.full_like(like, torch.inf)) + 1
    for _ in range(8 * like.element_size()):
        middle = (low & high) + ((low ^ high) >> 1)  # the mean, without overflow
        yes = holds(_ordered(middle).view(like.dtype))
        low, high = torch.where(yes, middle, low), torch.where(yes, high, middle)
    return _ordered(low).view(like.dtype)


def _ordered(numbers: Tensor) -> Tensor:
    """Map floating-point numbers to integers in the same order; its own inverse."""
    bits = numbers.view(torch.int32 if numbers.element_size() == 4 else torch.int64)
    return bits ^ ((bits >> (8 * bits.element_size() - 1)) & torch.iinfo(bits.dtype).max)


def own_logits(logits: Tensor, columns: Tensor) -> Tensor:
    """Return the own classes' logits, (N, 1); NaN where elsewhere."""
    return torch.where(columns >= 0, logits.gather(1, columns.clamp_min(0)), torch.nan)


def top(logits: Tensor, count: int) -> Tensor:
    """Return the `count` largest entries of each row, in no order."""
    return torch.cat([logits[rows].topk(count, sorted=False).values for rows in row_chunks(logits)])


def row_chunks(matrix: Tensor) -> Iterator[slice]:
    """Yield slices of the rows, an eighth of a large matrix each."""
    size = max(-(-matrix.shape[0] // 8), ENTRIES // max(matrix.shape[1], 1), 1)
    for start in range(0, matrix.shape[0], size):
        yield slice(start, start + size)


def count(entries: Tensor, own: Tensor, compare: Compare, value: Tensor) -> Tensor:
    """Return how many entries lie beyond a value (N, 1), own excluded."""
    parts = [
        compare(entries[rows], value[rows]).sum(1, keepdim=True, dtype=torch.int32) for rows in row_chunks(entries)
    ]
    return torch.cat(parts).long() - compare(own, value).long()
