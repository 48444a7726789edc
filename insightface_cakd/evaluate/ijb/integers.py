"""Large text tables of whole numbers, read by whole arrays and strictly."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from insightface_cakd.errors import DataError
from insightface_cakd.runtime.reading import reading

CHUNK = 1 << 24
LONGEST = 9  # digits: every such number fits int32
DIGIT, BLANK, NEWLINE, OTHER = range(4)
KINDS = np.full(256, OTHER, np.uint8)
KINDS[ord("0") : ord("9") + 1] = DIGIT
KINDS[[ord(" "), ord("\t"), ord("\r")]] = BLANK
KINDS[ord("\n")] = NEWLINE


def read_integers(path: Path, columns: int, expected: str) -> np.ndarray:
    """Return a table of non-negative numbers as int32 (rows, columns); empty lines are skipped.

    Args:
        path: text, numbers separated by blanks, one row a line.
        columns: numbers a line.
        expected: what a line holds, for an error.

    Raises:
        DataError: the file is missing or empty, or a line holds something else.
    """
    tables, line = [], 1
    with reading(path, DataError, f"lines of {expected}. Is it a whole IJB tree?"), path.open("rb") as file:
        for block in _blocks(file):
            tables.append(_parse(block, columns, f"{path}", line, expected))
            line += block.count(b"\n")
    if not sum(map(len, tables)):
        raise DataError(f"{path}: holds no line; expected lines of {expected}. Get the file again.")
    return np.concatenate(tables)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file in pieces that end with a line."""
    rest = b""
    while data := file.read(CHUNK):
        data = rest + data
        cut = data.rfind(b"\n") + 1
        rest = data[cut:]
        if cut:
            yield data[:cut]
    if rest:
        yield rest + b"\n"


def _parse(block: bytes, columns: int, where: str, first_line: int, expected: str) -> np.ndarray:
    """Return the numbers of whole lines."""
    text = np.frombuffer(block, np.uint8)
    kinds = KINDS[text]
    _check_characters(block, kinds, where, first_line, expected)
    is_digit = np.zeros(len(text) + 1, np.int8)
    is_digit[1:] = kinds == DIGIT
    edges = np.diff(is_digit)  # a line ends each block, so a number never does
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    _check_lines(block, starts, np.flatnonzero(kinds == NEWLINE), columns, where, first_line, expected)
    lengths = ends - starts
    if len(lengths) and lengths.max() > LONGEST:
        position = int(starts[np.argmax(lengths)])
        raise _wrong_line(block, position, where, first_line, f"{expected}, numbers of at most {LONGEST} digits")
    values = np.zeros(len(starts), np.int32)
    for place in range(int(lengths.max(initial=0))):
        digits = text[np.maximum(ends - 1 - place, 0)].astype(np.int32) - ord("0")
        values += np.where(lengths > place, digits, 0) * np.int32(10**place)
    return values.reshape(-1, columns)


def _check_characters(block: bytes, kinds: np.ndarray, where: str, first_line: int, expected: str) -> None:
    strange = kinds == OTHER
    if strange.any():
        raise _wrong_line(block, int(np.argmax(strange)), where, first_line, expected)


def _check_lines(
    block: bytes,
    starts: np.ndarray,
    newlines: np.ndarray,
    columns: int,
    where: str,
    first_line: int,
    expected: str,
) -> None:
    """Check that each line that is not empty has as many numbers as it must."""
    if len(starts) == columns * len(newlines):
        last, first = starts[columns - 1 :: columns], starts[columns::columns]
        if (last < newlines).all() and (first > newlines[:-1]).all():
            return
    counts = np.diff(np.searchsorted(starts, newlines), prepend=0)
    wrong = (counts != columns) & (counts != 0)
    if wrong.any():
        raise _wrong_line(block, int(newlines[np.argmax(wrong)]), where, first_line, expected)


def _wrong_line(block: bytes, position: int, where: str, first_line: int, expected: str) -> DataError:
    number = first_line + block.count(b"\n", 0, position)
    start = block.rfind(b"\n", 0, position) + 1
    text = block[start : block.find(b"\n", start)].decode("utf-8", "replace").strip()[:60]
    return DataError(f"{where}, line {number}: {text!r}; expected {expected}. Correct the line, or get the file again.")
