"""The primary group of each sample, on whole or sharded logits.

A group is what lies above a threshold of its row, and the threshold is found by bisection over the floating-point numbers themselves:
each rank counts, or weighs, its own columns above a candidate, and only the sums over ranks travel, N numbers at a time. Ties at the
threshold go to the lower rank and the lower column, as in a stable sort of the whole row.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from insightface_cakd.losses.classes import ClassAxis
from insightface_cakd.losses.thresholds import (
    Counts,
    Masses,
    Values,
    Weights,
    count,
    highest,
    own_logits,
    row_chunks,
    top,
)

# Weights are compared with a share of the whole up to this, so that the order of a sum decides nothing.
SLACK = 1e-6


@dataclass(frozen=True)
class Group:
    """The primary group of each row.

    Entries above a threshold, the first of those equal to it, and the sample's own class.

    Args:
        threshold: (N, 1).
        last: (N, 1), int64, the last column at which an entry equal to the threshold belongs, -1 if none does.
        columns: (N, 1), int64, the own class's column, -1 if it is not among these columns.
        size: (N, 1), int64, classes in the group, those of all ranks.
    """

    threshold: Tensor
    last: Tensor
    columns: Tensor
    size: Tensor

    def members(self, logits: Tensor, rows: slice) -> Tensor:
        """Return which entries belong to the group, boolean (r, n)."""
        ours, threshold = logits[rows], self.threshold[rows]
        positions = torch.arange(ours.shape[1], device=ours.device)
        inside = (ours == threshold) & (positions <= self.last[rows])
        inside |= ours > threshold
        own = self.columns[rows]
        at = own.clamp_min(0)
        return inside.scatter_(1, at, inside.gather(1, at) | (own >= 0))


def largest(logits: Tensor, columns: Tensor, size: int | Tensor, classes: ClassAxis) -> Group:
    """Return the own class and the largest others.

    They are `size` in all, or all classes where there are fewer.

    Shape:
        logits: (N, n), float32 or float64. columns: (N, 1), -1 where the class is not among the n; a row whose class no rank has gets the
        `size` largest. size: a number, or (1, 1).
    """
    own = own_logits(logits, columns)
    goal = (count_classes(logits, classes).clamp(max=size) - classes.sum((columns >= 0).long())).double()
    # The `size` largest entries of each rank suffice to decide whether `size` entries lie above a value.
    few = isinstance(size, int) and 4 * size < logits.shape[1]
    return reach(logits, columns, goal, Counts(top(logits, int(size)) if few else logits, own), classes)


def probable(logits: Tensor, columns: Tensor, share: float, temperature: float, classes: ClassAxis) -> Group:
    """Return the smallest group with a share of the softened probability.

    The own class, and as many of the largest others as it takes; `share` is in (0, 1], `columns` as in `largest`.
    """
    own = own_logits(logits, columns)
    masses = Masses(logits, own, temperature, classes)
    goal = share * (1 - SLACK) - classes.sum(torch.where(columns >= 0, masses.of(own), 0))
    return reach(logits, columns, goal, masses, classes)


def shared_size(logits: Tensor, share: float, step: int, classes: ClassAxis) -> Tensor:
    """Return one size for all rows, by their summed probabilities (N, n).

    It is the first k of 1, 1 + step, 1 + 2 step, ... whose k largest sums reach the share of N; C - 1 if no k below C does.
    """
    shift = classes.max(logits)
    parts = [(logits[rows] - shift[rows]).exp_().sum(dim=1, keepdim=True) for rows in row_chunks(logits)]
    total = classes.sum(torch.cat(parts))
    sums = logits.new_zeros(1, logits.shape[1])
    for rows in row_chunks(logits):
        sums += (logits[rows] - shift[rows]).exp_().div_(total[rows]).sum(dim=0)
    goal = torch.full_like(sums[:, :1], share * (1 - SLACK) * len(logits), dtype=torch.float64)
    nobody = torch.full_like(goal, -1, dtype=torch.int64)
    needed = reach(sums, nobody, goal, Values(sums), classes).size
    steps = (needed + step - 2) // step
    return (1 + steps * step).minimum(count_classes(logits, classes) - 1).clamp(min=1)


def reach(logits: Tensor, columns: Tensor, goal: Tensor, weights: Weights, classes: ClassAxis) -> Group:
    """Return the own class and the fewest others that reach a goal.

    The goal (N, 1) is what the others' weights add up to; the largest are taken first; equal entries weigh the same.
    """
    own = own_logits(logits, columns)
    threshold = highest(lambda value: classes.sum(weights.where(torch.ge, value)) >= goal, own)
    missing = (goal - classes.sum(weights.where(torch.gt, threshold))) / weights.of(threshold)
    equal = count(logits, own, torch.eq, threshold)
    wanted = missing.ceil().clamp(min=0).minimum(classes.sum(equal)).long()
    ours = (wanted - classes.before(equal)).clamp_min(0).minimum(equal)
    last = last_of(logits, columns, threshold, ours)
    larger = classes.sum(count(logits, own, torch.gt, threshold) + (columns >= 0))
    return Group(threshold, last, columns, larger + wanted)


def last_of(logits: Tensor, columns: Tensor, value: Tensor, wanted: Tensor) -> Tensor:
    """Return the column of the `wanted`-th entry that equals a value.

    The own class is left out; -1 where none is wanted. Columns, value, wanted and result are (N, 1).
    """
    found = []
    for rows in row_chunks(logits):
        alike = logits[rows] == value[rows]
        at = columns[rows].clamp_min(0)
        alike.scatter_(1, at, alike.gather(1, at) & (columns[rows] < 0))
        seen = alike.cumsum(dim=1, dtype=torch.int32)
        found.append((seen < wanted[rows]).sum(dim=1, keepdim=True))
    return torch.where(wanted > 0, torch.cat(found), -1)


def count_classes(logits: Tensor, classes: ClassAxis) -> Tensor:
    """Return the number of columns of all ranks, (1, 1)."""
    return classes.sum(torch.full((1, 1), logits.shape[1], device=logits.device))
