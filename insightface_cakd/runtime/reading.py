"""Reads files of the user, which may be missing, damaged or wrong."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from insightface_cakd.errors import CAKDError, in_one_line


@contextmanager
def reading(
    where: str | os.PathLike[str], kind: type[CAKDError], expected: str, *damage: type[Exception]
) -> Iterator[None]:
    """Report whatever goes wrong while a file is read in one line.

    `expected` says what the file should be and how to fix it, as sentences; `damage` are the exceptions, besides OSError, of a damaged
    file. A CAKDError is re-raised unchanged.
    """
    caught: tuple[type[Exception], ...] = (OSError, *damage)
    try:
        yield
    except CAKDError:
        raise
    except caught as error:
        raise unreadable(where, kind, expected, error) from error


def unreadable(where: str | os.PathLike[str], kind: type[CAKDError], expected: str, error: Exception) -> CAKDError:
    """Return the error of a file that cannot be read; see `reading`."""
    said = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return kind(f"{where}: cannot be read ({in_one_line(said)[:200]}); expected {expected}")


def parse_json(text: str) -> Any:
    """Return the value of JSON; any mistake is a ValueError."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("lists or objects within many others") from error


def read_text(path: Path, kind: type[CAKDError], expected: str) -> str:
    """Return the text of a UTF-8 file; errors as in `reading`."""
    with reading(path, kind, expected, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
