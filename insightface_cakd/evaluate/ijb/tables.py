"""Reads text tables of millions of lines."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.ijb.words import LONGEST, Kind, Words, find_words, number
from insightface_cakd.runtime.reading import reading

# Bytes that a thread reads at a time: what it computes of them stays in the processor's cache.
PIECE = 1 << 19
DIGITS = LONGEST["int"]
Found = TypeVar("Found")


def read_rows(path: Path, columns: int, expected: str, kind: Kind, workers: int = 2) -> tuple[list[str], np.ndarray]:
    """Return names and numbers of lines of a name and `columns` numbers.

    They are separated by blanks; empty lines are skipped. Numbers are int32 or float64 (columns, lines).

    Args:
        expected: what a line is, for errors.
    """

    def parse(words: Words) -> tuple[list[str], np.ndarray]:
        return words.names(0), words.numbers(1, kind)

    with reading(path, DataError, f"lines of {expected}. Is it a whole IJB tree?", UnicodeDecodeError):
        try:
            parts = list(_pieces(path, columns + 1, parse, workers))
        except UnicodeDecodeError:
            raise
        except (ValueError, OverflowError) as error:
            raise _wrong_row(path, columns, expected, kind) from error
    names = [name for some, _ in parts for name in some]
    if not names:
        raise _empty(path, expected)
    return names, np.concatenate([found for _, found in parts], axis=1)


def read_integers(path: Path, columns: int, expected: str, workers: int = 2) -> list[np.ndarray]:
    """Return the columns, int32 (lines,), of a text table of non-negative numbers.

    Numbers are separated by blanks; empty lines are skipped.

    Args:
        expected: what a line is, for errors.
    """

    def parse(words: Words) -> np.ndarray:
        found = words.numbers(0, "int")
        if found.size and not 0 <= found.min() <= found.max() < 10**DIGITS:
            raise ValueError(f"numbers from {found.min()} to {found.max()}")
        return found

    with reading(path, DataError, f"lines of {expected}. Is it a whole IJB tree?"):
        # A number takes two bytes at least. Memory beyond the last line is never touched, so it takes no place.
        table = [np.empty((path.stat().st_size + 1) // (2 * columns), np.int32) for _ in range(columns)]
        end = 0
        try:
            for found in _pieces(path, columns, parse, workers):
                start, end = end, end + found.shape[1]
                for column, some in zip(table, found, strict=True):
                    column[start:end] = some
        except (ValueError, OverflowError) as error:
            raise _wrong_line(path, columns, expected) from error
    if not end:
        raise _empty(path, expected)
    return [column[:end] for column in table]


def _pieces(path: Path, columns: int, work: Callable[[Words], Found], workers: int) -> Iterator[Found]:
    """Yield what `work` makes of each piece of a file, in order; threads do it.

    Raises:
        ValueError: a line has another number of words.
    """

    def read(start: int) -> Found:
        words = find_words(_lines(path, start), columns)
        if words is None:
            raise ValueError(f"not {columns} words a line")
        return work(words)

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(read, range(0, path.stat().st_size, PIECE))


def _lines(path: Path, start: int) -> bytes:
    """Return the lines whose first byte is among the `PIECE` bytes from a place on, each with its newline."""
    with path.open("rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()
        data = file.read(max(start + PIECE - file.tell(), 0))
        if data and not data.endswith(b"\n"):
            data += file.readline()
    return data if not data or data.endswith(b"\n") else data + b"\n"


def _wrong_row(path: Path, columns: int, expected: str, kind: Kind) -> DataError:
    """Return the error for the first wrong line of a name and numbers."""
    for place, words in _split(path):
        if len(words) != columns + 1:
            return DataError(
                f"{place}: {len(words)} words; expected {columns + 1}: {expected}. Correct the line, or get the file again."
            )
        try:
            np.array([number(word, kind) for word in words[1:]], np.int32 if kind == "int" else np.float64)
        except (ValueError, OverflowError):
            return DataError(f"{place}: {_shown(words[1:])}; expected {expected}. Correct the line.")
    return _changed(path)


def _wrong_line(path: Path, columns: int, expected: str) -> DataError:
    """Return the error for the first wrong line of whole numbers."""
    for place, words in _split(path):
        whole = all(word.isdigit() for word in words)
        short = all(len(word) <= DIGITS for word in words)
        if not (len(words) == columns and whole and short):
            limit = "" if short or not whole else f", numbers of at most {DIGITS} digits"
            return DataError(
                f"{place}: {_shown(words)}; expected {expected}{limit}. Correct the line, or get the file again."
            )
    return _changed(path)


def _split(path: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Yield place and words of each line that has some."""
    with path.open("rb") as file:
        for line_number, line in enumerate(file, 1):
            if words := line.split():
                yield f"{path}, line {line_number}", words


def _shown(words: list[bytes]) -> str:
    return repr(b" ".join(words).decode(errors="replace")[:60])


def _empty(path: Path, expected: str) -> DataError:
    return DataError(f"{path}: holds no line; expected lines of {expected}. Get the file again.")


def _changed(path: Path) -> DataError:
    return DataError(f"{path}: was written while it was read; expected a file at rest. Run it again.")
