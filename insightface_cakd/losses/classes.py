"""Reductions over the classes of a softmax, whole or sharded over ranks."""

from typing import Protocol

import torch
from torch import Tensor


class ClassAxis(Protocol):
    """Reductions over all classes of the rows of a logit matrix.

    This process may hold only some of the columns.
    """

    def max(self, logits: Tensor) -> Tensor:
        """Return the largest entry of each row, (N, 1), without gradient."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of each row of (N, n), (N, 1)."""

    def before(self, counts: Tensor) -> Tensor:
        """Return the counts (N, 1) of processes with earlier classes, without gradient."""


class WholeRows(ClassAxis):
    """All classes are here."""

    def max(self, logits: Tensor) -> Tensor:
        """Return the largest entry of each row, (N, 1), without gradient."""
        return logits.detach().amax(dim=1, keepdim=True)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of each row, (N, 1)."""
        return values.sum(dim=1, keepdim=True)

    def before(self, counts: Tensor) -> Tensor:
        """Return 0 for each row."""
        return torch.zeros_like(counts)


WHOLE_ROWS = WholeRows()
