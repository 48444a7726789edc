"""The primary group of each sample, on whole or sharded logits.

A group is what lies above a threshold of its row, which a `Search` finds: the ranks add up sums by digit, and no rank sees another's
logits. Ties at the threshold go to the lower rank and the lower column, as in a stable sort of the whole row.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from insightface_cakd.losses.blocks import block_size, column_blocks, compared, within
from insightface_cakd.losses.classes import ClassAxis
from insightface_cakd.losses.masses import Masses, beside_common_peak, first_masses, peak_and_total
from insightface_cakd.losses.shared_size import shared_size
from insightface_cakd.losses.thresholds import Search

# Weights are compared with a share of the whole up to this, so that the order of a sum decides nothing.
SLACK = 1e-6
# Bits of the digits by a number's bytes. Of the last digit each rank's sums are sent, so that it has few.
EXACT = {4: (12, 12, 8), 8: (12, 12, 12, 12, 8, 8)}
# Sign, exponent and the first 15 bits of the mantissa, for which two digits do.
COARSE = {4: (13, 11), 8: (16, 11)}


@dataclass(frozen=True)
class Group:
    """The primary group of each row.

    Entries above a threshold, the first of those at it, and the sample's own class.

    Args:
        low: (N, 1), the threshold: the smallest number that is not told apart from it.
        top: (N, 1), the largest such number; `low` itself where all numbers are told apart.
        last: (N, 1), int64, the last column at which an entry at the threshold belongs, -1 if none does.
        columns: (N, 1), int64, the own class's column, -1 if it is not among these columns.
    """

    low: Tensor
    top: Tensor
    last: Tensor
    columns: Tensor

    def members(self, logits: Tensor, block: slice) -> Tensor:
        """Return 1 for entries of a block that belong, else 0.

        (N, c), in the logits' type.
        """
        ours = logits[:, block]
        above = compared(ours, torch.gt, self.top)
        inside = compared(ours, torch.ge, self.low).sub_(above)
        places = torch.arange(ours.shape[1], device=ours.device, dtype=ours.dtype)
        last = (self.last - block.start).clamp(-1, ours.shape[1]).to(ours.dtype)
        inside.mul_(compared(places.expand_as(ours), torch.le, last)).add_(above)
        at, here = within(self.columns, block)
        return inside.scatter_(1, at, inside.gather(1, at).maximum(here.to(ours.dtype)))


def largest(logits: Tensor, columns: Tensor, size: int, classes: ClassAxis) -> Group:
    """Return the own class and the largest others.

    They are `size` in all, or all classes where there are fewer. It takes three reductions.

    Shape:
        logits: (N, n), float32 or float64. columns: (N, 1), -1 where the class is not among the n; a row whose class no rank has gets the
        `size` largest.
    """
    search = Search(logits, columns, EXACT[logits.element_size()])
    counts = first_counts(search)
    first, number, own = split_counts(classes.sum(counts.view(-1, 1)).view_as(counts))
    return reach(search, first, number.clamp(max=size) - own, None, classes)


def probable(logits: Tensor, columns: Tensor, share: float, temperature: float, classes: ClassAxis) -> Group:
    """Return the smallest group with a share of the softened probability.

    The own class, and as many of the largest others as it takes; `share` is in (0, 1], `columns` as in `largest`. It takes three
    reductions.
    """
    search = Search(logits, columns, EXACT[logits.element_size()])
    masses, first, own, total = first_masses(search, temperature, classes)
    return reach(search, first, share * (1 - SLACK) * total - own, masses, classes)


def shared(logits: Tensor, columns: Tensor, share: float, step: int, classes: ClassAxis) -> Group:
    """Return the own class and equally many largest others of each row.

    How many says `shared_size`. Logits that agree in the first 15 bits of the mantissa are equal here: a number that is known only after
    two reductions leaves one for the rest of the search. `columns` as in `largest`.
    """
    search = Search(logits, columns, COARSE[logits.element_size()])
    counts, each = classes.sum_and_gather(first_counts(search), peak_and_total(logits))
    peak, totals = beside_common_peak(each, 1.0)
    first, number, own = split_counts(counts)
    masses = Masses(peak.to(logits.dtype), 1.0)
    size = shared_size(logits, masses, totals.sum(0), share * (1 - SLACK), step, number[:1], classes)
    return reach(search, first, size.minimum(number) - own, None, classes)


def first_counts(search: Search) -> Tensor:
    """Return entries of this rank by digit, all, and own classes.

    (N, 2^bits + 2), by the first digit.
    """
    counts = search.histogram().double()
    own = (search.columns >= 0).double()
    return torch.cat([counts, counts.sum(1, keepdim=True) + own, own], dim=1)


def split_counts(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the parts of `first_counts`."""
    return counts[:, :-2], counts[:, -2:-1], counts[:, -1:]


def reach(search: Search, first: Tensor, goal: Tensor, masses: Masses | None, classes: ClassAxis) -> Group:
    """Return the own class and the fewest others that reach a goal.

    The goal (N, 1) is what the others' masses, or their number, add up to; the largest are taken first. A search of d digits takes d - 1
    reductions more: `first` are the sums of all ranks by the first digit.
    """
    search.choose(first, goal)
    for _ in search.digits[1:-1]:
        sums = search.histogram(masses).double()
        search.choose(classes.sum(sums.view(-1, 1)).view_as(sums), goal)
    counts = classes.gather(search.histogram())  # (R, N, 2^bits): equal numbers have equal masses
    each = torch.ones_like(first[:, :1]) if masses is None else masses.of(search.values())
    place = search.choose(counts.sum(0) * each, goal)
    missing = (goal - search.above) / each.expand(counts.shape[1:]).gather(1, place)
    equal = counts.gather(2, place.expand(len(counts), -1, -1)).long()  # (R, N, 1)
    wanted = missing.ceil().clamp(min=0).minimum(equal.sum(0)).long()
    ours = (wanted - equal[: classes.place].sum(0)).clamp_min(0).minimum(equal[classes.place])
    low, top = search.range()
    return Group(low, top, last_of(search, low, top, ours), search.columns)


def last_of(search: Search, low: Tensor, top: Tensor, wanted: Tensor) -> Tensor:
    """Return the column of each row's `wanted`-th entry in a range.

    The own class is left out; -1 where none is wanted. Range, wanted and result are (N, 1). Blocks are counted first, and then only the
    block with the entry is looked at, another one for each row.
    """
    logits, columns, size = search.logits, search.columns, block_size(search.logits)
    counts = [
        (compared(logits[:, block], torch.ge, low).sum(1) - compared(logits[:, block], torch.gt, top).sum(1)).long()
        for block in column_blocks(logits)
    ]
    found = torch.stack(counts, dim=1)
    own = (search.own >= low) & (search.own <= top) & (columns >= 0)
    found.scatter_add_(1, columns.clamp_min(0) // size, -own.long())
    ends = found.cumsum(1)
    block = (ends < wanted).sum(1, keepdim=True).clamp(max=found.shape[1] - 1)
    places = block * size + torch.arange(size, device=logits.device)
    entries = logits.gather(1, places.clamp(max=logits.shape[1] - 1))
    there = (entries >= low) & (entries <= top) & (places < logits.shape[1]) & (places != columns)
    seen = there.cumsum(1) + (ends - found).gather(1, block)
    return torch.where(wanted > 0, block * size + (seen < wanted).sum(1, keepdim=True), -1)
