"""Describes an exception in host code: one line, or the whole traceback when asked for."""

import os
import sys
import traceback

from insightface_cakd.errors import CAKDError

TRACEBACK = "CAKD_TRACEBACK"
LONGEST = 300


def describe(error: BaseException) -> str:
    """Return an exception in one line of limited length; one without a text shows the line that raised it.

    Args:
        error: a user's mistake (CAKDError) stands as it is, anything else behind the name of its type.
    """
    said = " ".join(str(error).split())
    if isinstance(error, CAKDError):
        return said
    if len(said) > LONGEST:
        said = said[:LONGEST].rsplit(" ", 1)[0] + " ..."
    frames = traceback.extract_tb(error.__traceback__)
    if not said and frames:
        said = frames[-1].line or ""
    return f"{type(error).__name__}{': ' + said if said else ''}"


def print_traceback(error: BaseException) -> None:
    """Print the traceback on stderr, if `CAKD_TRACEBACK=1` asks for it."""
    if os.environ.get(TRACEBACK) == "1":
        traceback.print_exception(error, file=sys.stderr)
