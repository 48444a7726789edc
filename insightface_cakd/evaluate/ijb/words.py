"""Words of many lines, and their numbers, thousands at a time."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["int", "float"]

# A word of at most so many digits is computed at once: they fit int32, and a float64 without rounding.
LONGEST = {"int": 9, "float": 15}
# Blanks around the text, so that as many bytes can be taken before and after each word.
MARGIN = 16
SPACE, NEWLINE, DOT, ZERO = (ord(one) for one in " \n.0")


@dataclass(frozen=True)
class Words:
    """Words of lines that have equally many.

    Args:
        text: uint8, the bytes.
        starts: int64 (lines, columns), where the words start.
        lengths: int64 (lines, columns), their numbers of bytes.
    """

    text: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def names(self, column: int) -> list[str]:
        """Return the words of a column.

        Raises:
            UnicodeDecodeError: they are not UTF-8.
        """
        starts, sizes = self.starts[:, column], self.lengths[:, column] + 1
        ends = np.cumsum(sizes)
        found = self.text[np.arange(sizes.sum()) + np.repeat(starts - (ends - sizes), sizes)]
        found[ends - 1] = NEWLINE
        return found.tobytes().decode("utf-8").split("\n")[:-1]

    def numbers(self, first: int, kind: Kind) -> np.ndarray:
        """Return the columns from `first` on: int32 or float64 (columns, lines).

        Raises:
            ValueError: a word is no number.
            OverflowError: a whole number does not fit int32.
        """
        convert = self._integers if kind == "int" else self._decimals
        columns = range(first, self.starts.shape[1])
        return np.stack([convert(self.starts[:, column], self.lengths[:, column]) for column in columns])

    def _integers(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        found, plain = _digits(self.text, starts, lengths, np.int32)
        return self._others(found, plain & (lengths > 0) & (lengths <= LONGEST["int"]), starts, lengths, "int")

    def _decimals(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Divide the digits, as a whole number, by a power of ten.

        Both are exact in float64, so that the quotient is the float nearest to the decimal, as Python's is.
        """
        places, dots = np.zeros(len(starts), np.uint8), np.zeros(len(starts), bool)
        sizes, at = np.minimum(lengths, MARGIN).astype(np.uint8), starts + lengths
        for place in range(sizes.max(initial=0)):
            at -= 1
            here = (self.text.take(at) == DOT) & (sizes > place)
            places += here * np.uint8(place)
            dots |= here
        whole, plain = _digits(self.text, starts, lengths - places - dots, np.int64)
        part, also_plain = _digits(self.text, starts + lengths - places, places, np.int64)
        powers = 10.0 ** np.arange(LONGEST["float"] + 1)
        power = powers[places]
        digits = lengths - dots
        plain &= also_plain & (digits > 0) & (digits <= LONGEST["float"])
        return self._others((whole * power + part) / power, plain, starts, lengths, "float")

    def _others(
        self, found: np.ndarray, plain: np.ndarray, starts: np.ndarray, lengths: np.ndarray, kind: Kind
    ) -> np.ndarray:
        """Let Python read the words that are not plain, such as -1e-3."""
        for row in np.flatnonzero(~plain):
            found[row] = number(self.text[starts[row] : starts[row] + lengths[row]].tobytes(), kind)
        return found


def find_words(data: bytes, columns: int) -> Words | None:
    """Return the words of lines, all with so many words.

    Returns None if a line has another number of them. Each line ends with a newline. Words are separated by ASCII blanks,
    as `bytes.split` does it; empty lines are left out.
    """
    text = np.frombuffer(b"".join([b" " * MARGIN, data, b" " * MARGIN]), np.uint8)
    blank = (text == SPACE) | (text - np.uint8(9) < 5)  # tab, newline and others up to carriage return are 9 to 13
    edges = np.flatnonzero(blank[:-1] != blank[1:]) + 1  # of words: start, end, start, ...
    starts, ends = edges[::2], edges[1::2]
    if len(ends) % columns or not _lines_have(text, ends, columns):
        return None
    return Words(text, starts.reshape(-1, columns), (ends - starts).reshape(-1, columns))


def number(word: bytes, kind: Kind) -> int | float:
    """Return a word as a number.

    Raises:
        ValueError: it is none.
    """
    if b"_" in word:
        raise ValueError("digits grouped by underscores, which Python reads and no other program writes")
    return int(word) if kind == "int" else float(word)


def _lines_have(text: np.ndarray, ends: np.ndarray, columns: int) -> bool:
    """Return whether each line has so many words or none; `ends` are those of the words."""
    newline = text == NEWLINE
    lasts = ends[columns - 1 :: columns]
    if newline.take(lasts).all() and np.count_nonzero(newline) == len(lasts):
        return True  # as most lists are: a newline after each last word, and no other
    before = np.searchsorted(ends, np.flatnonzero(newline), "right")
    return bool(np.isin(np.diff(before, prepend=0), (0, columns)).all())


def _digits(
    text: np.ndarray, starts: np.ndarray, lengths: np.ndarray, kind: type[np.integer]
) -> tuple[np.ndarray, np.ndarray]:
    """Return decimal numbers, and whether each byte of theirs is a digit.

    A number is right only if it has no more digits than `kind` holds.
    """
    found, largest = np.zeros(len(starts), kind), np.zeros(len(starts), np.uint8)
    sizes, at = np.minimum(lengths, MARGIN).astype(np.uint8), starts.copy()
    for place in range(sizes.max(initial=0)):
        inside = (sizes > place).view(np.uint8)
        digit = text.take(at) - np.uint8(ZERO)
        digit *= inside
        found *= inside * np.uint8(9) + np.uint8(1)  # by 10 while the number has digits
        found += digit
        np.maximum(largest, digit, out=largest)
        at += 1
    return found, largest < 10
