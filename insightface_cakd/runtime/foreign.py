"""The boundary behind which code of others is called."""

import functools
import os
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from insightface_cakd.errors import CAKDError, RunError, in_one_line, reason_of

PACKAGE = "insightface_cakd"
TRACEBACK = "CAKD_TRACEBACK"
# Packages that a recipe or a command line has named, `package.module:Name`: code of the user's, wherever it is installed.
_NAMED: set[str] = set()
# What Python says of a text that no file can be called by.
_NO_NAME = ("embedded null", "surrogates not allowed")
_OURS = Path(__file__).resolve().parents[1]


def take_for_foreign(module: str) -> None:
    """Count a module's package as code of the user's from now on."""
    _NAMED.add(module.partition(".")[0])


@contextmanager
def foreign(
    where: str, kind: type[CAKDError], expected: str, of: object = None, fails: str = "fails"
) -> Iterator[None]:
    """Report whatever foreign code does wrong, `sys.exit` included, in one line.

    A CAKDError and Ctrl+C pass.

    Args:
        where: names the code, as the user named it.
        kind: what is raised.
        expected: what it should do, and how to fix it, as sentences.
        of: the object that is called; a fault in one of this package passes, since it is no mistake of the user's.
        fails: what it does not manage, as the line says it.
    """
    try:
        yield
    except (CAKDError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        if is_ours(of):
            raise
        print_traceback(error)
        raise kind(f"{where}: {fails} ({_told(error)}); expected {expected}") from error


@contextmanager
def anything_foreign() -> Iterator[None]:
    """Report in one line what foreign code raised anywhere inside.

    So are memory that is used up, and paths that the system refuses. A fault of this package passes.
    """
    try:
        yield
    except (CAKDError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        said = _not_ours(error)
        if said is None:
            raise
        print_traceback(error)
        raise RunError(said) from error


def print_traceback(error: BaseException) -> None:
    """Print the traceback on stderr if `CAKD_TRACEBACK=1`."""
    if os.environ.get(TRACEBACK) == "1":
        traceback.print_exception(error, file=sys.stderr)


def is_ours(thing: object) -> bool:
    """Return whether an object or class is of this package."""
    kind = thing if isinstance(thing, type) else type(thing)
    return kind.__module__.partition(".")[0] == PACKAGE


def _not_ours(error: BaseException) -> str | None:
    """Return the line of an error that is no fault of this package, None for one that is."""
    place = _foreign_place(error)
    if place is not None:
        file, line = place
        return (
            f"{file}:{line}: stopped the run ({reason_of(error)}); expected code that a recipe or command names to do its part without "
            f"an error. Correct it there; {TRACEBACK}=1 shows how it was called."
        )
    if is_out_of_memory(error):
        return (
            f"memory: not enough for what was asked ({reason_of(error)}); expected sizes that fit the machine. Lower the batch size or "
            "the size that the line names, or free memory."
        )
    if isinstance(error, OSError):
        path = "a file" if error.filename is None else in_one_line(error.filename)[:300]
        return (
            f"{path}: cannot be used ({error.strerror or in_one_line(error)}); expected a path that can be read, or written to where "
            "something is saved. Correct it."
        )
    if isinstance(error, UnicodeEncodeError | ValueError) and any(word in in_one_line(error) for word in _NO_NAME):
        return f"a name or path ({in_one_line(error)[:200]}); expected text in UTF-8, without NUL. Rename it."
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory was used up, on the CPU or a GPU."""
    # torch reports a RuntimeError, or a subclass of it that is not imported here.
    words = ("out of memory", "can't allocate memory", "not enough memory", "Storage size calculation overflowed")
    of_torch = isinstance(error, RuntimeError) and any(word in in_one_line(error) for word in words)
    return isinstance(error, MemoryError) or of_torch


def _told(error: BaseException) -> str:
    """Return what foreign code raised, and where it did."""
    place = _foreign_place(error)
    return reason_of(error) + (f" at {place[0]}:{place[1]}" if place is not None else "")


def _foreign_place(error: BaseException) -> tuple[str, int] | None:
    """Return file and line of the innermost foreign frame that this package called."""
    below, found = False, None
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if file == __file__:
            continue
        if Path(file).is_relative_to(_OURS):
            below = True
        elif below and _is_foreign(frame):
            found = (file, line)
    return found


def _is_foreign(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    if frame.f_globals.get("__name__", "").partition(".")[0] in _NAMED:
        return True
    # Code without a file, such as frozen importlib, is Python's own.
    return not file.startswith(("<", *_installed()))


@functools.cache
def _installed() -> tuple[str, ...]:
    """Return the folders of Python and of installed packages: pip's, and others on `sys.path` that hold distributions."""
    standard = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    others = (place for place in sys.path if place and next(Path(place).glob("*.dist-info"), None) is not None)
    return tuple({*standard, *site.getsitepackages(), site.getusersitepackages(), *others})
