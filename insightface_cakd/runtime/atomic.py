"""Files and folders that are written completely or not at all."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from insightface_cakd.errors import CAKDError, RunError
from insightface_cakd.runtime.folder_lock import LOCK, only_writer, unwritable
from insightface_cakd.runtime.made_folders import made_folders


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary sibling of `path`, moved into place on success.

    The caller writes a file or a folder to the temporary path. If the block raises, everything written is removed,
    including parent folders created for it, and `path` stays as it was. An existing folder that is not empty is never
    replaced.

    Args:
        path: the file or folder to create; missing parents are created.

    Raises:
        OSError: the parent cannot be written, the new folder would replace one that is not empty, or the path is the
            working folder or the root.
    """
    target = Path(path)
    if not target.name:
        raise OSError(errno.EINVAL, "it has no name of its own", str(path))
    # Said before hours of work rather than by the last move.
    if target.is_dir() and any(target.iterdir()):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    with made_folders(target.parent):
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary)
            elif temporary.exists():
                temporary.unlink()


@contextmanager
def writing(path: str | os.PathLike[str], kind: type[CAKDError], where: str = "") -> Iterator[Path]:
    """Yield as `replacing` does, with the only right to write there.

    A full or unwritable disk, and another process that writes the same, are reported as `kind`.
    """
    try:
        with only_writer(path, kind, moved=True, where=where), replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise kind(f"{where or path}: {unwritable(error)}") from error


def write_text(path: str | os.PathLike[str], text: str, kind: type[CAKDError], where: str = "") -> None:
    """Write a UTF-8 text file, completely or not at all; see `writing`."""
    with writing(path, kind, where) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], content: Any, kind: type[CAKDError] = RunError) -> None:
    """Write a JSON file, completely or not at all; see `writing`."""
    write_text(path, json.dumps(content, indent=1), kind)


def require_new(path: str | os.PathLike[str], kind: type[CAKDError]) -> None:
    """Check beforehand that `path` is new or an empty folder.

    The lock of this process may lie in it.
    """
    target = Path(path)
    if target.exists() and (not target.is_dir() or any(child.name != LOCK for child in target.iterdir())):
        raise kind(f"{path}: exists already; expected a new or empty folder. Choose another, or remove it first.")
