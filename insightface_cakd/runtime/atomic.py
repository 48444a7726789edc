"""Files that are either whole or not there."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from insightface_cakd.errors import CAKDError, RunError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary sibling of `path` to write (a file or a folder), and put it in place when the block ends well.

    If the block raises, whatever was written is removed, parents made for it too, and `path` stays as it was. An existing folder is
    never replaced.

    Args:
        path: the file or folder to create; its parents are created when missing.

    Raises:
        OSError: the parent cannot be written, a folder is to replace one that is not empty, or the path is the working folder or the root.
    """
    target = Path(path)
    if not target.name:
        raise OSError(errno.EINVAL, "it has no name of its own", str(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    made = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        elif temporary.exists():
            temporary.unlink()
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


@contextmanager
def writing(path: str | os.PathLike[str], kind: type[CAKDError], where: str = "") -> Iterator[Path]:
    """Give a temporary sibling of `path` as `replacing` does; a disk that is full is the user's error.

    Args:
        path: the file or folder to create.
        kind: of the error.
        where: what its line begins with; the path when not given.

    Raises:
        CAKDError: of this kind: the disk is full, or the place cannot be written. What was there is as it was.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise kind(
            f"{where or path}: cannot be written ({error.strerror or error}); nothing was left behind, and what was saved before is "
            "untouched. Free some space, or choose another place."
        ) from error


def write_text(path: str | os.PathLike[str], text: str, kind: type[CAKDError], where: str = "") -> None:
    """Write a text file, whole or not at all; see `writing`.

    Args:
        path: the file to write, replaced when it exists.
        text: what it will hold.
        kind: of the error.
        where: what its line begins with; the path when not given.
    """
    with writing(path, kind, where) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], content: Any, kind: type[CAKDError] = RunError) -> None:
    """Write a JSON file, whole or not at all; see `writing`.

    Args:
        path: the file to write, replaced when it exists.
        content: what `json.dumps` takes.
        kind: of the error.
    """
    write_text(path, json.dumps(content, indent=1), kind)


def require_new(path: str | os.PathLike[str], kind: type[CAKDError]) -> None:
    """Check, before the work begins, that a folder can be made at `path`.

    Args:
        path: not there yet, or an empty folder.
        kind: of the error.

    Raises:
        CAKDError: of this kind: it is a file, or holds something.
    """
    target = Path(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise kind(f"{path}: exists already; expected a new or empty folder. Choose another, or remove it first.")
