"""Reductions over the classes of a softmax, whole or sharded over ranks."""

from typing import Protocol

from torch import Tensor


class ClassAxis(Protocol):
    """Reductions over all classes of the rows of a logit matrix.

    This process may hold only some of the columns.
    """

    @property
    def place(self) -> int:
        """This process's place among those that hold columns, in the columns' order."""

    def max(self, logits: Tensor) -> Tensor:
        """Return the largest entry of each row, (N, 1), without gradient."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of each row of (N, n), (N, 1)."""

    def gather(self, values: Tensor) -> Tensor:
        """Return the values (...) of each process, (R, ...), without gradient."""

    def sum_and_gather(self, summed: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum over processes, and each one's own values (R, ...).

        It is one reduction. Both are of one type; without gradient.
        """


class WholeRows(ClassAxis):
    """All classes are here."""

    place = 0

    def max(self, logits: Tensor) -> Tensor:
        """Return the largest entry of each row, (N, 1), without gradient."""
        return logits.detach().amax(dim=1, keepdim=True)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of each row, (N, 1)."""
        return values.sum(dim=1, keepdim=True)

    def gather(self, values: Tensor) -> Tensor:
        """Return these values alone."""
        return values.detach().unsqueeze(0)

    def sum_and_gather(self, summed: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Return both as they are."""
        return summed.detach(), own.detach().unsqueeze(0)


WHOLE_ROWS = WholeRows()
