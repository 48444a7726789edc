"""A large matrix a few columns at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

# Entries of a block: on a CPU, what stays in its cache through several operators; elsewhere, an eighth of a large matrix, and not
# fewer than this, below which launching costs more than memory.
CACHED = 2**17
ENTRIES = 2**18
_PREDICTED = ContextVar("blocks of a GPU, whatever the device", default=False)


@contextmanager
def blocks_of_a_gpu() -> Iterator[None]:
    """Cut matrices as on a GPU, where a CPU stands for one."""
    token = _PREDICTED.set(True)
    try:
        yield
    finally:
        _PREDICTED.reset(token)


def column_blocks(matrix: Tensor) -> Iterator[slice]:
    """Yield slices of the columns, of equal size but for the last."""
    columns, size = matrix.shape[1], block_size(matrix)
    for start in range(0, columns, size):
        yield slice(start, min(start + size, columns))


def block_size(matrix: Tensor) -> int:
    """Return the columns of a block, at least 1."""
    on_cpu = matrix.device.type == "cpu" and not _PREDICTED.get()
    entries = CACHED if on_cpu else max(ENTRIES, -(-matrix.numel() // 8))
    return max(entries // max(matrix.shape[0], 1), 1)


def within(columns: Tensor, block: slice) -> tuple[Tensor, Tensor]:
    """Return columns' positions in a block, and whether they lie there.

    Those that do not have the nearest position.
    """
    at = columns - block.start
    length = block.stop - block.start
    return at.clamp(0, length - 1), (at >= 0) & (at < length)


def compared(numbers: Tensor, compare: Callable[..., Tensor], value: Tensor) -> Tensor:
    """Return 1 where a comparison holds, else 0.

    It has the numbers' own type: operators on it are several times faster on a CPU than on booleans.
    """
    return compare(numbers, value, out=torch.empty_like(numbers))
