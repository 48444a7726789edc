"""Files and folders that are written completely or not at all."""

import errno
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from insightface_cakd.errors import CAKDError, RunError
from insightface_cakd.runtime.folder_lock import LOCK, only_writer, unwritable
from insightface_cakd.runtime.leftovers import clear_leftovers, in_use, is_in_use, temporary_name, work_name
from insightface_cakd.runtime.made_folders import made_folders


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary sibling of `path`, moved into place on success.

    The caller writes a file or a folder to the temporary path. If the block raises, everything written is removed,
    including parent folders created for it, and `path` stays as it was. An existing folder that is not empty is never
    replaced. What killed processes left of the same target is removed first, see `clear_leftovers`.

    Args:
        path: the file or folder to create; missing parents are created. A link stays: what it points at is replaced. A device, a pipe,
            or a file that is this process's stdout or stderr is written to at the end, and never replaced.

    Raises:
        OSError: the parent cannot be written, the new folder would replace one that is not empty, or the path is the
            working folder or the root.
    """
    given, target = Path(path), Path(os.path.realpath(path))
    if not given.name or not target.name:
        raise OSError(errno.EINVAL, "it has no name of its own", str(path))
    if is_in_use(given):
        # The block of another call, which puts it in place.
        yield given
        return
    with _through(given) if _is_stream(given) else _beside(target) as temporary, in_use(temporary):
        yield temporary


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Yield a temporary sibling, and move it into place on success."""
    # Said before hours of work rather than by the last move.
    if target.is_dir() and any(target.iterdir()):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(target))
    temporary = target.with_name(temporary_name(target.name))
    clear_leftovers(target.parent, target.name)
    with made_folders(target.parent):
        try:
            yield temporary
            if target.is_file() and temporary.is_file():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary)
            elif temporary.exists():
                temporary.unlink()


@contextmanager
def _through(stream: Path) -> Iterator[Path]:
    """Yield a temporary file, and write its content to a stream on success."""
    with tempfile.TemporaryDirectory(prefix="cakd-") as folder:
        temporary = Path(folder, temporary_name(stream.name))
        yield temporary
        if temporary.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(stream))
        with temporary.open("rb") as content, _opened(stream) as sink:
            shutil.copyfileobj(content, sink)


def _is_stream(path: Path) -> bool:
    """Return whether a path is neither a file nor a folder, or is stdout or stderr."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)) or _standard(found) is not None


def _standard(found: os.stat_result) -> int | None:
    """Return the descriptor of stdout or stderr if it is that file."""
    for descriptor in (1, 2):
        try:
            if os.path.samestat(found, os.fstat(descriptor)):
                return descriptor
        except OSError:
            # The process was started without it.
            continue
    return None


def _opened(stream: Path) -> BinaryIO:
    """Open a stream; stdout and stderr go on where they are."""
    descriptor = _standard(stream.stat())
    if descriptor is None:
        return stream.open("wb")
    (sys.stdout if descriptor == 1 else sys.stderr).flush()
    return open(os.dup(descriptor), "wb")


@contextmanager
def work_folder(temporary: Path) -> Iterator[Path]:
    """Yield a scratch folder beside a path that `replacing` yielded."""
    folder = temporary.with_name(work_name(temporary.name))
    folder.mkdir()
    try:
        with in_use(folder):
            yield folder
    finally:
        shutil.rmtree(folder)


def put(source: Path, target: Path) -> None:
    """Move a finished file or folder into place; a link stays.

    Args:
        source: on the disk of the target, unless that is a link to another.
        target: a file that exists is replaced.

    Raises:
        OSError: it cannot be written, or the target is a folder that is not empty.
    """
    place = Path(os.path.realpath(target))
    try:
        os.replace(source, place)
    except OSError as error:
        if error.errno != errno.EXDEV or source.is_dir():
            raise
        with replacing(place) as temporary:
            shutil.copyfile(source, temporary)
        source.unlink()


@contextmanager
def writing(path: str | os.PathLike[str], kind: type[CAKDError], where: str = "") -> Iterator[Path]:
    """Yield as `replacing` does, with the only right to write there.

    A full or unwritable disk, and another process that writes the same, are reported as `kind`. A device or pipe may have several writers.
    """
    try:
        alone = nullcontext() if _is_stream(Path(path)) else only_writer(path, kind, moved=True, where=where)
        with alone, replacing(path) as temporary:
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
    clear_leftovers(target.parent, target.name)
    clear_leftovers(target)
    if target.exists() and (not target.is_dir() or any(child.name != LOCK for child in target.iterdir())):
        raise kind(f"{path}: exists already; expected a new or empty folder. Choose another, or remove it first.")
