"""One process at a time writes a folder.

The lock is the kernel's, on an open file: it goes when its process ends, however that ends.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

from insightface_cakd.errors import CAKDError, RunError
from insightface_cakd.runtime.made_folders import made_folders

try:
    import fcntl
# Not on Windows.
except ImportError:
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
# The descriptor of each lock that this process holds.
_held: dict[Path, int] = {}


@contextmanager
def only_writer(
    output: str | os.PathLike[str], kind: type[CAKDError] = RunError, moved: bool = False, where: str = ""
) -> Iterator[None]:
    """Keep other processes from writing a folder during a block.

    A process that holds it already may enter again. Missing folders are created for the lock's file, and removed with it if they are
    still empty. Where the file system has no locks, that is said and the block runs.

    Args:
        output: the folder.
        kind: of the error.
        moved: it is written elsewhere and moved into place, so the lock's file must lie beside it.
        where: names it in errors.

    Raises:
        CAKDError: another process holds it; it is named. Or the lock's file cannot be made.
    """
    folder = Path(output).expanduser().absolute()
    lock = folder.with_name(f".{folder.name}{LOCK}") if moved and folder.name else folder / LOCK
    lock = lock.parent.resolve() / lock.name
    if lock in _held:
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(made_folders(lock.parent))
            descriptor = _acquire(lock)
        except OSError as error:
            raise kind(f"{where or output}: {_refusal(lock, error)}") from error
        if descriptor is None:
            _say_unlocked(str(output))
        else:
            stack.callback(_release, lock, descriptor)
        yield


@cache
def _say_unlocked(output: str) -> None:
    print(f"{output}: this file system has no locks; another run that writes it would go unnoticed", flush=True)


def _acquire(lock: Path) -> int | None:
    """Return a descriptor of the locked file; None without locks."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            has_locks = _flock(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        if not has_locks:
            os.close(descriptor)
            lock.unlink(missing_ok=True)
            return None
        if _is_at(lock, descriptor):
            break
        # Its holder removed the file between the two calls.
        os.close(descriptor)
    _held[lock] = descriptor
    since = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    # On a full disk the lock holds, without a name.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {since}".encode())
    return descriptor


def _flock(descriptor: int) -> bool:
    """Lock an open file; False where the file system cannot."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            raise
        return False
    return True


def _is_at(lock: Path, descriptor: int) -> bool:
    try:
        there = lock.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _release(lock: Path, descriptor: int) -> None:
    # Removed while it is locked, so that nobody loses a file that is theirs by now.
    lock.unlink(missing_ok=True)
    os.close(descriptor)
    del _held[lock]


def unwritable(error: OSError) -> str:
    """Return what follows the name of an unwritable place."""
    return (
        f"cannot be written ({error.strerror or error}); nothing was left behind, and what was saved before is untouched. Free some space, "
        "or choose another place."
    )


def _refusal(lock: Path, error: OSError) -> str:
    if error.errno != errno.EWOULDBLOCK:
        return unwritable(error)
    return (
        f"another run writes it ({_holder(lock)}); expected one at a time. Wait for it to end, or choose another place."
    )


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8") or "it has just begun"
    except OSError:
        return "it is just ending"


def _leave_to_parent() -> None:
    """Close a forked child's copies: a worker must not hold its killed parent's lock."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
