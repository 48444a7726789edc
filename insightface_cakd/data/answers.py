"""Whether a teacher's answers say anything."""

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.errors import TeacherError

# Shorter rows have no direction: the losses' own division by a length stops there.
SHORTEST = 1e-12
# Largest distance to the first row, over the largest length, of rows that differ by rounding only. Untrained networks reach 0.1.
SAME = 1e-5
# Stored answers that are looked at when they are opened, spread evenly.
LOOKED_AT = 1024
# Rows looked at at a time: class centres may be millions.
ROWS = 1 << 16


class Answers:
    """Checks a teacher's answers as they come.

    Args:
        where: beginning of every error message.
        fix: end of every error message.
        first: number of the first answer, for messages.
    """

    def __init__(self, where: str, fix: str, first: int = 0) -> None:
        self.where, self.fix = where, fix
        self.first, self.count = first, 0
        self._first: Tensor | None = None
        self._length = self._distance = 0.0

    def add(self, answers: Tensor) -> None:
        """Take a batch, or millions of rows in parts.

        Shape:
            answers: (B, ...), floats.

        Raises:
            TeacherError: an answer is not finite, or all zero.
        """
        for part in answers.split(ROWS):
            self._add(part)

    def _add(self, answers: Tensor) -> None:
        rows = answers.detach().flatten(1).float()  # (B, values)
        bad = int((~torch.isfinite(rows)).any(dim=1).sum())
        if bad:
            self._refuse(f"{bad} of {len(rows)} embeddings are not finite; expected numbers")
        lengths = torch.linalg.vector_norm(rows, dim=1)  # (B,)
        silent = lengths <= SHORTEST
        if silent.any():
            number = self.first + self.count + int(silent.int().argmax())
            self._refuse(
                f"{int(silent.sum())} of {len(rows)} embeddings are all zero, the first is number {number}; expected directions"
            )
        if self._first is None:
            self._first = rows[0].clone()
        self.count += len(rows)
        self._length = max(self._length, float(lengths.max()))
        self._distance = max(self._distance, float(torch.linalg.vector_norm(rows - self._first, dim=1).max()))

    def require_different(self) -> None:
        """Check that not all answers so far were the same.

        Raises:
            TeacherError: they were, though the images differ.
        """
        if self._distance <= SAME * self._length:
            self._refuse(f"all {self.count} embeddings are the same; expected different ones of different faces")

    def _refuse(self, problem: str) -> None:
        raise TeacherError(f"{self.where}: {problem}. {self.fix}")


def check_answers(answers: Tensor, where: str, fix: str, different: bool = True) -> None:
    """Check the answers to different images.

    Args:
        answers: (B, ...), floats.
        where: beginning of every error message.
        fix: end of every error message.
        different: also refuse answers that are all the same.
    """
    seen = Answers(where, fix)
    seen.add(answers)
    if different:
        seen.require_different()


def looked_at(count: int) -> np.ndarray:
    """Return which of stored answers are looked at, spread evenly.

    Args:
        count: how many are stored.
    """
    return np.unique(np.linspace(0, count - 1, min(LOOKED_AT, count)).astype(np.int64))
