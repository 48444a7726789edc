"""The errors a user can cause: one line each, `where: what is wrong; what was expected. How to fix it.`"""

import difflib
from collections.abc import Iterable


class CAKDError(Exception):
    """A mistake in what the user gave; its text is one line that can be pasted into an issue."""


class RecipeError(CAKDError):
    """A recipe or one of its values cannot be used."""


class TapError(CAKDError):
    """A named activation does not exist, or did not behave as a tap must."""


class ShapeError(CAKDError):
    """Two tensors that must be compared do not fit."""


class TeacherError(CAKDError):
    """A teacher could not be built, loaded, verified, or asked."""


class DataError(CAKDError):
    """A record file, verification set or image folder is missing or broken."""


class EvaluationError(CAKDError):
    """A model could not be measured."""


class RunError(CAKDError):
    """A training run cannot start or cannot go on."""


class PatchError(CAKDError):
    """A patch cannot be put into a checkout, or taken out of it."""


class ExportError(CAKDError):
    """A model could not be exported, or the exported file does not do what the network does."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest known name, or an empty string.

    Args:
        name: what the user wrote.
        known: the names that exist.
    """
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""
