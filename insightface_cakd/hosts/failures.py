"""Describes an exception in host code."""

import traceback

from insightface_cakd.errors import CAKDError, in_one_line

LONGEST = 300


def describe(error: BaseException) -> str:
    """Return an exception as one line.

    It is cut to about 300 characters unless it is a CAKDError (a user's mistake). One without a message shows the
    source line that raised it.
    """
    said = in_one_line(error)
    if isinstance(error, CAKDError):
        return said
    if len(said) > LONGEST:
        said = said[:LONGEST].rsplit(" ", 1)[0] + " ..."
    if not said and (frames := traceback.extract_tb(error.__traceback__)):
        said = frames[-1].line or ""
    return f"{type(error).__name__}{': ' + said if said else ''}"
