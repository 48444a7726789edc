"""For each row the most similar others, exactly, in memory that grows with the rows and not with their pairs."""

from collections.abc import Callable

import torch
from torch import Tensor

# Entries as whole numbers of 2^-24: their products and all partial sums are whole and below 2^53, so float64 makes no rounding error, and
# a cosine depends neither on how the pairs are cut up nor on the device.
PARTS = 2.0**24
# Cosines on a grid of 2^-38: with the number of one of 2^24 identities they fill 62 bits.
LEVELS = 2.0**-10
ROWS, COLUMNS = 512, 16384


def nearest_others(
    rows: Tensor,
    nearest: int,
    progress: Callable[[int], None] | None = None,
    chunks: tuple[int, int] = (ROWS, COLUMNS),
) -> Tensor:
    """Return for each row the others of highest cosine, the highest first; of equal ones the smaller number first.

    Every pair is looked at, `chunks` of them at a time on the device of the rows, with entries rounded to 2^-24 and no other error worth
    the name: the answer is the same for all chunks and devices.

    Shape:
        rows: (C, D), unit, 2 <= C <= 2^24. Returns (C, min(nearest, C - 1)), int32, on the CPU.

    Args:
        rows: on the device that computes, which must know float64.
        nearest: how many others, >= 1.
        progress: called with the rows done.
        chunks: rows and columns that are compared at a time.
    """
    count, wanted = len(rows), min(nearest, len(rows) - 1)
    found = torch.empty(count, wanted, dtype=torch.int32)
    for start in range(0, count, chunks[0]):
        end = min(start + chunks[0], count)
        found[start:end] = _nearest_of(rows, start, end, wanted, chunks[1]).int().cpu()
        if progress is not None:
            progress(end)
    return found


def _nearest_of(rows: Tensor, start: int, end: int, wanted: int, width: int) -> Tensor:
    """Return the others of some rows, (end - start, wanted), int64.

    Cosine and number are one integer, so that no two are equal and the largest are the same however the columns are cut.
    """
    count, own = len(rows), _whole(rows[start:end])
    numbers = torch.arange(count, device=rows.device)
    best = torch.empty(end - start, 0, dtype=torch.int64, device=rows.device)
    for first in range(0, count, width):
        columns = numbers[first : first + width]
        products = own @ _whole(rows[first : first + width]).T
        levels = products.mul_(LEVELS).round_().long()
        keys = levels.mul_(count).add_(count - 1 - columns)
        keys.masked_fill_(numbers[start:end].unsqueeze(1) == columns, torch.iinfo(torch.int64).min)
        best = torch.cat([best, keys.topk(min(wanted, len(columns)), dim=1).values], dim=1)
        best = best.topk(min(wanted, best.shape[1]), dim=1).values
    return count - 1 - best.remainder(count)


def _whole(rows: Tensor) -> Tensor:
    return rows.double().mul_(PARTS).round_()
