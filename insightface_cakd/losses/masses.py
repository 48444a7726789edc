"""Softened probabilities of sharded logits, up to a common factor."""

import torch
from torch import Tensor

from insightface_cakd.losses.blocks import column_blocks
from insightface_cakd.losses.classes import ClassAxis
from insightface_cakd.losses.thresholds import Search

# exp of this is far below the largest float64; what it stands for weighs nothing beside the peak.
FAR = 700.0


class Masses:
    """Masses of logits: exp((z - peak) / temperature).

    Args:
        peak: (N, 1), no logit is larger.
    """

    def __init__(self, peak: Tensor, temperature: float) -> None:
        self.peak, self.temperature = peak, temperature

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the masses of logits (N, c), float64."""
        return self.softened(logits).double()

    def softened(self, logits: Tensor) -> Tensor:
        """Return the masses in the logits' own type."""
        return logits.sub(self.peak).div_(self.temperature).exp_()

    def of(self, numbers: Tensor) -> Tensor:
        """Return masses of any numbers, at most that of the peak."""
        return self(numbers.double().minimum(self.peak))


def peak_and_total(logits: Tensor) -> Tensor:
    """Return each row's peak, and its total mass beside it.

    At T = 1; float64 (N, 2).
    """
    masses = Masses(logits.amax(1, keepdim=True), 1.0)
    parts = [masses.softened(logits[:, block]).sum(1, keepdim=True) for block in column_blocks(logits)]
    return torch.cat([masses.peak.double(), torch.cat(parts, dim=1).double().sum(1, keepdim=True)], dim=1)


def beside_common_peak(each: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the peak of all ranks, and their masses beside it.

    Shape:
        each: (R, N, 1 + k), a rank's peak and masses beside it. Returns (N, 1) and (R, N, k).
    """
    peaks = each[..., :1]
    peak = peaks.amax(0)
    return peak, each[..., 1:] * ((peaks - peak) / temperature).exp()


def first_masses(search: Search, temperature: float, classes: ClassAxis) -> tuple[Masses, Tensor, Tensor, Tensor]:
    """Return what a search for a share of the mass begins with.

    It takes one reduction. The ranks have no common peak yet, and so no common unit. They send masses in units of exp(edge / T), with the
    edge where a digit ends; but of the digit of a rank's own peak the height beside that peak. What is lost of the others lies too far
    below the peak to count.

    Returns:
        Masses beside the common peak; those of the first digit (N, 2^bits); the own class's and all of a row, (N, 1).
    """
    local = Masses(search.logits.amax(1, keepdim=True), temperature)
    peak, sums = local.peak.double(), search.histogram(local)
    starts = search.values().double()  # (1, 2^bits)
    edges = torch.cat([starts[:, 1:], torch.full_like(starts[:, :1], torch.inf)], dim=1)
    own = torch.where(search.columns >= 0, local(search.own), 0)
    highest = sums.masked_fill(edges <= peak, 0).sum(1, keepdim=True)
    sent = sums.masked_fill(edges > peak, 0) * ((peak - edges) / temperature).clamp(max=FAR).exp()
    slot = torch.cat([peak, highest, own, own + sums.sum(1, keepdim=True)], dim=1)
    sent, each = classes.sum_and_gather(sent, slot)
    peak, parts = beside_common_peak(each, temperature)
    first = sent * ((edges - peak) / temperature).clamp(max=0).exp()
    places = torch.searchsorted(starts[0], each[..., 0].T.contiguous(), right=True) - 1  # (N, R)
    first.scatter_add_(1, places, parts[..., 0].T)
    own, total = parts[..., 1:].sum(0).split(1, dim=1)
    return Masses(peak.to(search.logits.dtype), temperature), first, own, total
