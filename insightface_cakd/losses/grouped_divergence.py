"""Divergence within and between two groups of classes, in one pass."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from insightface_cakd.losses.classes import ClassAxis
from insightface_cakd.losses.groups import Group
from insightface_cakd.losses.thresholds import row_chunks


class GroupWeights(NamedTuple):
    """Weights of the three parts."""

    primary: float
    binary: float
    secondary: float


def grouped_divergence(
    student: Tensor, teacher: Tensor, group: Group, weights: GroupWeights, temperature: float, classes: ClassAxis
) -> Tensor:
    """Return the weighted divergence, averaged over rows, times T^2.

    T^2 / N sum_i (primary KL(p^T_P || p^S_P) + binary KL(b^T || b^S) + secondary KL(p^T_P' || p^S_P'))

    The gradient is computed with the value, so that of all that is made on the way one matrix of the logits' size outlives the call.
    A part of weight 0 is not computed. A group without classes counts 0.

    Args:
        student: (N, n), N > 0, float32 or float64.
        teacher: (N, n), without gradient.
    """
    return _GroupedDivergence.apply(student, teacher, group, weights, temperature, classes)


class _GroupedDivergence(torch.autograd.Function):
    """Loss and gradient on this rank's columns, in chunks of rows."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        group: Group,
        weights: GroupWeights,
        temperature: float,
        classes: ClassAxis,
    ) -> Tensor:
        pair = _Pair(student, teacher, group, temperature)
        peaks = classes.max(pair.peaks().view(-1, 1)).view(-1, 2, 2)
        sums = classes.sum(pair.sums(peaks, weights).view(-1, 1)).view(-1, 3, 2)
        values, shares = _divergences(peaks / temperature, sums, weights)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(pair.gradient(peaks, sums, shares, weights))
        return temperature**2 * values.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (columns,) = ctx.saved_tensors
        return columns * gradient, None, None, None, None, None


class _Pair:
    """Student's and teacher's logits on this rank's columns, split into two groups."""

    def __init__(self, student: Tensor, teacher: Tensor, group: Group, temperature: float) -> None:
        self.sides = (student, teacher)
        self.group = group
        self.temperature = temperature

    def peaks(self) -> Tensor:
        """Return the largest logits, (N, 2, 2); -inf for a group without classes."""
        found = self.sides[0].new_empty(self.sides[0].shape[0], 2, 2)
        for rows in row_chunks(self.sides[0]):
            inside = self._inside(rows)
            for side, logits in enumerate(self.sides):
                found[rows, side, 0] = torch.where(inside, logits[rows], -torch.inf).amax(1)
                found[rows, side, 1] = torch.where(inside, -torch.inf, logits[rows]).amax(1)
        return found

    def sums(self, peaks: Tensor, weights: GroupWeights) -> Tensor:
        """Return three sums by row and group, (N, 3, 2).

        They are sum e^S, sum e^T and sum e^T (log e^T - log e^S), with e = exp((z - peak) / T).
        """
        found = peaks.new_zeros(len(peaks), 3, 2)
        for rows in row_chunks(self.sides[0]):
            inside = self._inside(rows)
            ours, theirs = (self._softened(side, rows, inside, peaks) for side in (0, 1))
            differences = theirs - ours
            masses = (ours.exp_(), theirs.exp_())
            for side, mass in enumerate(masses):
                found[rows, side, 0] = (mass * inside).sum(1)
                found[rows, side, 1] = mass.masked_fill(inside, 0).sum(1)
            differences *= masses[1]
            if weights.primary:
                found[rows, 2, 0] = (differences * inside).sum(1)
            if weights.secondary:
                found[rows, 2, 1] = differences.masked_fill(inside, 0).sum(1)
        return found

    def gradient(self, peaks: Tensor, sums: Tensor, shares: Tensor, weights: GroupWeights) -> Tensor:
        """Return the gradient of the mean times T^2, (N, n).

        `shares` are (N, 2, 2), b by side and group; peaks and sums are of all ranks.
        """
        within = peaks.new_tensor([weights.primary, weights.secondary])
        scale = self.temperature / len(peaks)
        # A group without classes has sum 0, and no column that would read its factor.
        up = scale * (weights.binary * (shares[:, 0] - shares[:, 1]) + within) / sums[:, 0]
        down = scale * within / sums[:, 1]
        found = torch.empty_like(self.sides[0])
        for rows in row_chunks(found):
            inside = self._inside(rows)
            ours, theirs = (self._softened(side, rows, inside, peaks).exp_() for side in (0, 1))
            ours *= torch.where(inside, up[rows, :1], up[rows, 1:])
            theirs *= torch.where(inside, down[rows, :1], down[rows, 1:])
            torch.sub(ours, theirs, out=found[rows])
        return found

    def _inside(self, rows: slice) -> Tensor:
        return self.group.members(self.sides[0], rows)

    def _softened(self, side: int, rows: slice, inside: Tensor, peaks: Tensor) -> Tensor:
        """Return (z - peak of its group) / T, as a new tensor."""
        shift = torch.where(inside, peaks[rows, side, :1], peaks[rows, side, 1:])
        return shift.neg_().add_(self.sides[side][rows]).div_(self.temperature)


def _divergences(peaks: Tensor, sums: Tensor, weights: GroupWeights) -> tuple[Tensor, Tensor]:
    """Return divergences (N,), and probabilities by side and group (N, 2, 2)."""
    logs = sums[:, :2].log() + peaks  # logsumexp by side and group; -inf for a group without classes
    logs -= logs.logsumexp(dim=2, keepdim=True)
    shares, there = logs.exp(), sums[:, 1] > 0
    total = torch.zeros_like(logs[:, 0, 0])
    for group, weight in ((0, weights.primary), (1, weights.secondary)):
        if weight:
            ours, theirs, cross = sums[:, :, group].unbind(1)
            total += weight * torch.where(there[:, group], cross / theirs - theirs.log() + ours.log(), 0)
    if weights.binary:
        total += weights.binary * torch.where(there, shares[:, 1] * (logs[:, 1] - logs[:, 0]), 0).sum(1)
    return total, shares
