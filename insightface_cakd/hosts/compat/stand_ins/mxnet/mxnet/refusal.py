"""The error for calls of mxnet that the stand-in does not serve."""

from collections.abc import Callable
from typing import Any

from insightface_cakd.errors import RunError


class NotServedError(RunError, AttributeError):
    """A name that is absent; an AttributeError so that `hasattr` works."""


def not_served(call: str) -> NotServedError:
    """Return the error for a call."""
    return NotServedError(
        f"mxnet stand-in: {call} is not served; expected only what arcface_torch reads and writes records and images "
        "with. Run this code where the real mxnet imports (1.9.1 is the last, for numpy < 1.24)."
    )


def refuse(owner: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module of the stand-in."""

    def missing(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {owner!r} has no attribute {name!r}")
        raise not_served(f"{owner}.{name}")

    return missing
