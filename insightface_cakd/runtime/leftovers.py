"""What killed processes left: their temporary files, known by name."""

import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Without dots, which end a target's name; a file name may have 255 bytes.
_HOST = re.sub(r"\W", "_", socket.gethostname(), flags=re.ASCII)[:40]
_NAME = re.compile(r"\.(?P<target>.+)\.(?:(?P<host>\w*)-)?(?P<process>\d+)(?:\.work)?\.partial", re.ASCII)
_WRITTEN: set[Path] = set()


def temporary_name(target: str) -> str:
    """Return the name of this process's temporary file for a target."""
    return f".{target}.{_HOST}-{os.getpid()}.partial"


def work_name(temporary: str) -> str:
    """Return the name of the scratch folder beside a temporary file."""
    return f"{temporary.removesuffix('.partial')}.work.partial"


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Note in a block that this process writes a temporary path."""
    _WRITTEN.add(path)
    try:
        yield
    finally:
        _WRITTEN.discard(path)


def is_in_use(path: Path) -> bool:
    """Return whether this process is writing a temporary path."""
    return path in _WRITTEN


def clear_leftovers(folder: Path, target: str | None = None) -> None:
    """Remove what dead processes of this host left in a folder.

    It is said on stderr, in one line each for what was removed, what could not be, and what another host may still be writing.

    Args:
        folder: may be missing; one that cannot be listed counts as empty.
        target: name of the file or folder that is about to be written; None for all of the folder.
    """
    removed, kept, others = list[Path](), list[Path](), list[Path]()
    for path, name in _found(folder, target):
        if name["host"] != _HOST:
            others.append(path)
        elif _is_dead(path, int(name["process"])):
            (removed if _remove(path) else kept).append(path)
    _say(removed, "removed what a killed run left")
    _say(kept, "left by a killed run, and cannot be removed; remove it")
    _say(others, "left by a run of another host, which may still write it; remove it if not")


def _found(folder: Path, target: str | None) -> list[tuple[Path, re.Match[str]]]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    matches = ((folder / name, _NAME.fullmatch(name)) for name in names)
    return [(path, match) for path, match in matches if match is not None and target in (None, match["target"])]


def _is_dead(path: Path, process: int) -> bool:
    """Return whether a process ended; its number may be this one's by now."""
    return path not in _WRITTEN if process == os.getpid() else not _lives(process)


def _lives(process: int) -> bool:
    if os.name != "posix":
        # There signal 0 would end the process.
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _remove(path: Path) -> bool:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _say(paths: list[Path], what: str) -> None:
    if paths:
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        print(f"note: {paths[0]}{more}: {what}", file=sys.stderr)
