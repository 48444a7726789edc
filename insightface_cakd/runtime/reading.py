"""Files of the user that may be missing, damaged or something else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from insightface_cakd.errors import CAKDError


@contextmanager
def reading(
    where: str | os.PathLike[str], kind: type[CAKDError], expected: str, *damage: type[Exception]
) -> Iterator[None]:
    """Turn what goes wrong while a file is read into one line.

    Args:
        where: what the line begins with, usually the path.
        kind: of the error.
        expected: what the file should be, and how to mend it, in sentences.
        damage: what a reader raises for a file that is damaged or another, besides OSError; an error of ours passes as it is.

    Raises:
        CAKDError: of this kind: the file cannot be read.
    """
    caught: tuple[type[Exception], ...] = (OSError, *damage)
    try:
        yield
    except CAKDError:
        raise
    except caught as error:
        said = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise kind(f"{where}: cannot be read ({' '.join(said.split())[:200]}); expected {expected}") from error


def read_text(path: Path, kind: type[CAKDError], expected: str) -> str:
    """Return the text of a file; see `reading`.

    Args:
        path: of the file, in UTF-8.
        kind: of the error.
        expected: what the file should be, and how to mend it.
    """
    with reading(path, kind, expected, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
