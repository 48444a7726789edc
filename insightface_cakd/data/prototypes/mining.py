"""Finds the most similar other rows for each row, exactly."""

from collections.abc import Callable

import torch
from torch import Tensor

# Entries are integers in units of 2^-24: their products and all partial sums are integers below 2^53, so float64 makes
# no rounding error, and a cosine depends neither on how the pairs are divided into chunks nor on the device.
PARTS = 2.0**24
# Cosines are rounded to a grid of 2^-38: together with the number of one of 2^24 identities they fill 62 bits.
LEVELS = 2.0**-10
ROWS, COLUMNS = 512, 16384


def nearest_others(
    rows: Tensor,
    nearest: int,
    progress: Callable[[int], None] | None = None,
    chunks: tuple[int, int] = (ROWS, COLUMNS),
    wanted: range | None = None,
) -> Tensor:
    """Return for each row the other rows of highest cosine.

    The highest comes first; of equal ones the smaller row number. Every pair is compared, `chunks` (rows, columns) at a
    time, with entries rounded to 2^-24 and no other error of note: the result is the same for all chunks and devices.
    The memory needed grows with the number of rows, not of pairs.

    Args:
        progress: called with the number of rows done.
        wanted: the rows that are asked for, one after the other; None for all.

    Shape:
        rows: (C, D), unit, 2 <= C <= 2^24, on a device with float64. Returns (C or len(wanted), min(nearest, C - 1)), int32, CPU.
    """
    asked = range(len(rows)) if wanted is None else wanted
    width = min(nearest, len(rows) - 1)
    found = torch.empty(len(asked), width, dtype=torch.int32)
    for start in range(0, len(asked), chunks[0]):
        part = asked[start : start + chunks[0]]
        found[start : start + len(part)] = _nearest_of(rows, part.start, part.stop, width, chunks[1]).int().cpu()
        if progress is not None:
            progress(start + len(part))
    return found


def _nearest_of(rows: Tensor, start: int, end: int, wanted: int, width: int) -> Tensor:
    """Return the nearest others of rows `start` to `end`, (end - start, wanted), int64.

    Cosine and row number form one integer, so that no two are equal and the cut of the columns does not matter.
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
