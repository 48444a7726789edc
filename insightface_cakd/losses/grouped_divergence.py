"""Divergence within and between two groups of classes, in one pass."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from insightface_cakd.losses.blocks import column_blocks
from insightface_cakd.losses.classes import ClassAxis
from insightface_cakd.losses.groups import Group

# Places among the sums of a group.
_PEAKS, _MASSES, _CROSSED, _SIZE = slice(0, 2), slice(2, 4), 4, 5
# Where a part has no class of a group: a distance to the largest logit that is finite, and of which exp is 0.
_FAR = -1e30


class GroupWeights(NamedTuple):
    """Weights of the three parts."""

    primary: float
    binary: float
    secondary: float


def grouped_divergence(
    student: Tensor, teacher: Tensor, group: Group, weights: GroupWeights, temperature: float, classes: ClassAxis
) -> tuple[Tensor, Tensor]:
    """Return the weighted divergence, averaged over rows, times T^2.

    T^2 / N sum_i (primary KL(p^T_P || p^S_P) + binary KL(b^T || b^S) + secondary KL(p^T_P' || p^S_P'))

    And the mean number of classes in the group. No matrix of the logits' size is made but the gradient. A part of weight 0 is not
    computed. A group without classes counts 0. It takes one reduction.

    Args:
        student: (N, n), N > 0, float32 or float64.
        teacher: (N, n), without gradient.
    """
    return _GroupedDivergence.apply(student, teacher, group, weights, temperature, classes)


class _GroupedDivergence(torch.autograd.Function):
    """Loss and gradient on this rank's columns, a block at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        group: Group,
        weights: GroupWeights,
        temperature: float,
        classes: ClassAxis,
    ) -> tuple[Tensor, Tensor]:
        pair = _Pair(student, teacher, group, temperature)
        sums = joined(classes.gather(pair.sums(weights)), temperature)
        values, shares = _divergences(sums, temperature, weights)
        ctx.save_for_backward(student, teacher, sums, shares, group.low, group.top, group.last, group.columns)
        ctx.weights, ctx.temperature = weights, temperature
        size = sums[:, _SIZE, 0].double().mean()
        ctx.mark_non_differentiable(size)
        return temperature**2 * values.mean(), size

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        student, teacher, sums, shares, *group = ctx.saved_tensors
        pair = _Pair(student, teacher, Group(*group), ctx.temperature)
        return pair.gradient(gradient, sums, shares, ctx.weights), None, None, None, None, None


class _Pair:
    """Student's and teacher's logits on this rank's columns, split into two groups."""

    def __init__(self, student: Tensor, teacher: Tensor, group: Group, temperature: float) -> None:
        self.sides = (student, teacher)
        self.group = group
        self.temperature = temperature

    def sums(self, weights: GroupWeights) -> Tensor:
        """Return the sums of `joined` of these columns, (N, 6, 2)."""
        student = self.sides[0]
        parts = [self._block_sums(block, weights) for block in column_blocks(student)]
        return joined(torch.stack(parts), self.temperature)

    def gradient(self, gradient: Tensor, sums: Tensor, shares: Tensor, weights: GroupWeights) -> Tensor:
        """Return a multiple of the gradient of the mean times T^2, (N, n).

        `shares` are (N, 2, 2), b by side and group; the sums are of all ranks.
        """
        within = sums.new_tensor([weights.primary, weights.secondary])
        scale = gradient * self.temperature / len(sums)
        # A group without classes has sum 0, and no column that would read its factor; it must be finite.
        masses = sums[:, _MASSES].masked_fill(sums[:, _MASSES] == 0, 1)
        factors = torch.stack([weights.binary * (shares[:, 0] - shares[:, 1]) + within, within.expand(len(sums), 2)], 1)
        factors = scale * factors / masses
        found = torch.empty_like(self.sides[0])
        for block in column_blocks(found):
            split = self._split(block)
            ours, theirs = (
                self._softened(side, block, split, sums[:, side]).exp_().mul_(_of_group(split, factors[:, side]))
                for side in (0, 1)
            )
            torch.sub(ours, theirs, out=found[:, block])
        return found

    def _block_sums(self, block: slice, weights: GroupWeights) -> Tensor:
        split = self._split(block)
        peaks = torch.stack([self._peaks(side, block, split) for side in (0, 1)], dim=1)
        logs = [self._softened(side, block, split, peaks[:, side]) for side in (0, 1)]
        differences = logs[1] - logs[0]
        masses = [log.exp_() for log in logs]
        summed = [_by_group(mass, split) for mass in masses]
        differences *= masses[1]
        crossed = [
            (differences * part).sum(1) if weight else peaks.new_zeros(len(peaks))
            for part, weight in zip(split, (weights.primary, weights.secondary), strict=True)
        ]
        inside = split[0].sum(1)
        size = torch.stack([inside, split[0].shape[1] - inside], dim=1)
        return torch.cat([peaks, torch.stack([*summed, torch.stack(crossed, dim=1), size], dim=1)], dim=1)

    def _split(self, block: slice) -> tuple[Tensor, Tensor]:
        """Return 1 where an entry is in a group, else 0, for both groups."""
        inside = self.group.members(self.sides[0], block)
        return inside, 1 - inside

    def _peaks(self, side: int, block: slice, split: tuple[Tensor, Tensor]) -> Tensor:
        """Return the largest logits, (N, 2); far below all numbers for a group without classes."""
        logits = self.sides[side][:, block]
        far = -torch.finfo(logits.dtype).max / 4
        found = [torch.add(logits, other, alpha=far).amax(1) for other in reversed(split)]
        return torch.stack(found, dim=1).clamp_(min=far)

    def _softened(self, side: int, block: slice, split: tuple[Tensor, Tensor], peaks: Tensor) -> Tensor:
        """Return (z - peak of its group) / T, as a new tensor."""
        inside, outside = split
        logs = torch.addcmul(self.sides[side][:, block], inside, peaks[:, :1], value=-1)
        return logs.addcmul_(outside, peaks[:, 1:], value=-1).div_(self.temperature)


def joined(parts: Tensor, temperature: float) -> Tensor:
    """Return the sums of parts of the columns as those of all.

    By row and group they are: the largest logit of student and teacher; sum e^S, sum e^T and sum e^T (log e^T - log e^S), with
    e = exp((z - largest) / T); the number of classes.

    Shape:
        parts: (P, N, 6, 2). Returns (N, 6, 2).
    """
    peaks = parts[:, :, _PEAKS].amax(0)
    moves = ((parts[:, :, _PEAKS] - peaks) / temperature).clamp(min=_FAR)  # (P, N, 2, 2)
    scales = moves.exp()
    masses = (parts[:, :, _MASSES] * scales).sum(0)
    shifted = parts[:, :, _CROSSED] + parts[:, :, _MASSES.start + 1] * (moves[:, :, 1] - moves[:, :, 0])
    crossed = (shifted * scales[:, :, 1]).sum(0)
    return torch.cat([peaks, masses, torch.stack([crossed, parts[:, :, _SIZE].sum(0)], dim=1)], dim=1)


def _of_group(split: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
    """Return for each entry the value (N, 2) of its group; exact, as each sum has one term that is not 0."""
    inside, outside = split
    return (inside * values[:, :1]).addcmul_(outside, values[:, 1:])


def _by_group(masses: Tensor, split: tuple[Tensor, Tensor]) -> Tensor:
    inside = masses * split[0]
    return torch.stack([inside.sum(1), torch.sub(masses, inside, out=inside).sum(1)], dim=1)


def _divergences(sums: Tensor, temperature: float, weights: GroupWeights) -> tuple[Tensor, Tensor]:
    """Return divergences (N,), and probabilities by side and group (N, 2, 2)."""
    masses = sums[:, _MASSES]
    logs = masses.log() + sums[:, _PEAKS] / temperature  # logsumexp by side and group; -inf for a group without classes
    logs -= logs.logsumexp(dim=2, keepdim=True)
    shares, there = logs.exp(), masses[:, 1] > 0
    total = torch.zeros_like(logs[:, 0, 0])
    for group, weight in ((0, weights.primary), (1, weights.secondary)):
        if weight:
            ours, theirs, crossed = masses[:, 0, group], masses[:, 1, group], sums[:, _CROSSED, group]
            total += weight * torch.where(there[:, group], crossed / theirs - theirs.log() + ours.log(), 0)
    if weights.binary:
        total += weights.binary * torch.where(there, shares[:, 1] * (logs[:, 1] - logs[:, 0]), 0).sum(1)
    return total, shares
