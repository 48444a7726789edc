"""The findings of `cakd doctor`, one line each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from insightface_cakd.errors import CAKDError


@dataclass(frozen=True)
class Finding:
    """One line of the answer.

    Args:
        kind: "ok"; "note": worth knowing; "problem": a run would not start, or not do what its config says.
        text: what was examined and what was found; for a problem also how to fix it.
    """

    kind: Literal["ok", "note", "problem"]
    text: str

    def __str__(self) -> str:
        return f"{self.kind:8}{self.text}"


def ok(text: str) -> Finding:
    """Return a finding of something that is as it should be."""
    return Finding("ok", text)


def note(text: str) -> Finding:
    """Return a finding that does not prevent a run."""
    return Finding("note", text)


def problem(text: str) -> Finding:
    """Return a finding that prevents a run."""
    return Finding("problem", text)


def refusals(*checks: Callable[[], Any]) -> Iterator[Finding]:
    """Run all checks, and yield each error as a problem."""
    for check in checks:
        try:
            check()
        except CAKDError as error:
            yield problem(str(error))
