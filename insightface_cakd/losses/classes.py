"""Reductions over the classes of a softmax, of which a process may hold only some."""

from typing import Protocol

import torch
from torch import Tensor


class ClassAxis(Protocol):
    """Reductions over all classes of the rows of a logit matrix, of which this process may hold only some columns."""

    def max(self, logits: Tensor) -> Tensor:
        """Return the largest entry of each row, (N, 1), without gradient."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of each row, (N, 1)."""

    def before(self, counts: Tensor) -> Tensor:
        """Return what processes with earlier classes counted, (N, 1), for counts (N, 1) of this one, without gradient."""


class WholeRows:
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
