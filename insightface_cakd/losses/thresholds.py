"""Thresholds of the rows of a sharded matrix, found digit by digit.

The bits of a floating-point number, read as an integer, have its order. A search reads them from the top, some at a time: a digit. Each
rank adds up by their next digit what its own entries weigh that have the digits found so far; the sums over ranks say which digit comes
next. What travels is a row of sums for each digit, whatever the number of columns.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from insightface_cakd.losses.blocks import column_blocks

# Returns what numbers weigh, float64 and at least 0; equal numbers weigh the same.
Weigh = Callable[[Tensor], Tensor]


class Search:
    """Finds the largest number of each row that reaches a goal.

    What lies at or above it must weigh as much as the goal; the own class weighs nothing.

    Args:
        logits: (N, n).
        columns: (N, 1), the own class's column, -1 if it is not among these.
        digits: bits of each digit, the highest first. Numbers that agree in all of them are not told apart.
    Attributes:
        above: (N, 1), float64, weight of what is larger than all numbers with the digits found so far.
    """

    def __init__(self, logits: Tensor, columns: Tensor, digits: Sequence[int]) -> None:
        self.logits, self.columns, self.digits = logits, columns, digits
        self.own = logits.gather(1, columns.clamp_min(0))
        self.above = torch.zeros_like(self.own, dtype=torch.float64)
        self._level = 0
        self._found = torch.zeros_like(_ordered(self.own))

    def histogram(self, weigh: Weigh | None = None) -> Tensor:
        """Return the weight of this rank's entries by their next digit.

        (N, 2^bits), digits rising. Without `weigh` everything weighs 1, and the result is of whole numbers.
        """
        kind = self._found.dtype if weigh is None else torch.float64
        sums = torch.zeros(len(self.logits), 2**self._bits, dtype=kind, device=self.logits.device)
        for block in column_blocks(self.logits):
            numbers = self.logits[:, block]
            places, weights = self._weighed(numbers, weigh)
            sums.scatter_add_(1, places, weights)
        places, weights = self._weighed(self.own, weigh)
        return sums.scatter_add_(1, places, -weights * (self.columns >= 0))

    def choose(self, weights: Tensor, goal: Tensor) -> Tensor:
        """Fix the next digit by all ranks' weights; return its place.

        (N, 1). It is the largest that reaches the goal (N, 1) together with all above it, or the smallest if none does.
        """
        sums = weights.flip(1).cumsum(1).flip(1)
        reached = sums + self.above >= goal
        place = (reached * torch.arange(weights.shape[1], device=weights.device)).amax(1, keepdim=True)
        self.above = self.above + (sums - weights).gather(1, place)
        self._found = self._keys(place)
        self._level += 1
        return place

    def values(self) -> Tensor:
        """Return the smallest number of each next digit, (N, 2^bits)."""
        places = torch.arange(2**self._bits, device=self.logits.device).unsqueeze(0)
        return self._number(self._keys(places) << (self._below - self._bits))

    def range(self) -> tuple[Tensor, Tensor]:
        """Return the smallest and largest number with the digits found."""
        low = self._found << self._below
        top = low + ((1 << self._below) - 1)
        # The last below 0.0 would be -0.0, which is no smaller; the search knows no -0.0.
        return self._number(low), self._number(torch.where((top == -1) & (low < top), top - 1, top))

    @property
    def _bits(self) -> int:
        return self.digits[self._level]

    @property
    def _below(self) -> int:
        """Return the number of bits below the digits found."""
        return 8 * self._found.element_size() - sum(self.digits[: self._level])

    def _weighed(self, numbers: Tensor, weigh: Weigh | None) -> tuple[Tensor, Tensor]:
        """Return the places of numbers (N, c), and what they weigh there."""
        keys = _ordered(numbers + 0.0).bitwise_right_shift_(self._below - self._bits)  # no -0.0
        weights = None if weigh is None else weigh(numbers)
        if self._level == 0:
            keys += 2 ** (self._bits - 1)
            return keys.long(), torch.ones_like(keys) if weights is None else weights
        alike = (keys >> self._bits).eq_(self._found)
        weights = alike if weights is None else weights.mul_(alike.double())
        return keys.bitwise_and_(2**self._bits - 1).long(), weights

    def _keys(self, places: Tensor) -> Tensor:
        """Return the digits found and one more, at these places."""
        places = places.to(self._found.dtype)
        if self._level == 0:
            return places - 2 ** (self._bits - 1)
        return (self._found << self._bits) | places

    def _number(self, keys: Tensor) -> Tensor:
        low, high = (_ordered(torch.full_like(self.own[:1], end)) for end in (-torch.inf, torch.inf))
        return _ordered(keys.maximum(low).minimum(high)).view(self.own.dtype)


def _ordered(numbers: Tensor) -> Tensor:
    """Map floating-point numbers to integers in the same order; its own inverse."""
    bits = numbers.view(torch.int32 if numbers.element_size() == 4 else torch.int64)
    signs = bits >> (8 * bits.element_size() - 1)
    return signs.bitwise_and_(torch.iinfo(bits.dtype).max).bitwise_xor_(bits)
