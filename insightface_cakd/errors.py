"""Errors that a user can cause, each reported in one line.

The line has the form `where: what is wrong; what was expected. How to fix it.`
"""

import difflib
from collections.abc import Iterable


class CAKDError(Exception):
    """A mistake in the user's input.

    Its text is one line that can be pasted into an issue.
    """


class RecipeError(CAKDError):
    """A recipe, or one of its values, cannot be used."""


class TapError(CAKDError):
    """A tap names no module, or its activation is not usable.

    Raised when a named activation does not exist, or did not behave as a tap must.
    """


class ShapeError(CAKDError):
    """Two tensors that must be compared have incompatible shapes."""


class TeacherError(CAKDError):
    """A teacher could not be built, loaded, verified or run."""


class DataError(CAKDError):
    """A record file, verification set or image folder is missing or broken."""


class EvaluationError(CAKDError):
    """A model could not be measured."""


class RunError(CAKDError):
    """A training run cannot start or cannot go on."""


class PatchError(CAKDError):
    """A patch cannot be applied to a checkout, or reverted."""


class ExportError(CAKDError):
    """A model could not be exported, or the exported file is wrong.

    Wrong means that the file does not compute what the network computes.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" of the nearest name, or "".

    Near is a name of nearly the same letters (a ratio of `difflib` of 0.65 or more), or the only one that begins alike.
    """
    names = list(known)
    longer = [one for one in names if name and one.startswith(name)]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.65) or (longer if len(longer) == 1 else [])
    return f" Did you mean '{nearest[0]}'?" if nearest else ""


def in_one_line(message: object) -> str:
    """Return an exception or a text of foreign code as one line.

    Nothing for an exception that cannot say what it is.
    """
    try:
        return " ".join(str(message).split())
    # A foreign `__str__` may raise anything.
    except Exception:
        return ""


def shown(value: object) -> str:
    """Return a value as Python writes it, or its type.

    Python refuses to write whole numbers of thousands of digits, and a foreign `__repr__` may raise anything.
    """
    try:
        return repr(value)
    except Exception:
        return f"a value of type {type(value).__name__}"


def reason_of(error: BaseException) -> str:
    """Return type and words of an error, at most 300 characters."""
    said = in_one_line(error)
    return f"{type(error).__name__}: {said}"[:300] if said else type(error).__name__
