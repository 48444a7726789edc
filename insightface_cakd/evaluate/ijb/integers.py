"""Large text tables of whole numbers, read strictly."""

import warnings
from pathlib import Path

import numpy as np

from insightface_cakd.errors import DataError
from insightface_cakd.runtime.reading import reading

LONGEST = 9  # digits: every such number fits int32


def read_integers(path: Path, columns: int, expected: str) -> np.ndarray:
    """Return a text table of non-negative numbers as int32 (rows, columns).

    Numbers are separated by blanks; empty lines are skipped.
    """
    with reading(path, DataError, f"lines of {expected}. Is it a whole IJB tree?"), path.open("rb"):
        pass
    try:
        with warnings.catch_warnings():
            # NumPy only warns of an empty table and of a number such as 5.0.
            warnings.simplefilter("error")
            # NumPy reads a path nearly twice as fast as a file.
            table = np.loadtxt(path, np.int32, comments=None, ndmin=2, encoding="latin-1")
    except (ValueError, Warning) as error:
        raise _wrong_line(path, columns, expected) from error
    if table.shape[1] != columns or table.min() < 0 or table.max() >= 10**LONGEST:
        raise _wrong_line(path, columns, expected)
    return table


def _wrong_line(path: Path, columns: int, expected: str) -> DataError:
    """Return the error for the first wrong line or an empty table."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            whole = all(word.isascii() and word.isdigit() for word in words)
            short = all(len(word) <= LONGEST for word in words)
            if words and not (len(words) == columns and whole and short):
                limit = "" if short or not whole else f", numbers of at most {LONGEST} digits"
                return DataError(
                    f"{path}, line {number}: {line.strip()[:60]!r}; expected {expected}{limit}. Correct the line, or get the file "
                    "again."
                )
    return DataError(f"{path}: holds no line; expected lines of {expected}. Get the file again.")
