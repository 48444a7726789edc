"""The lines of the doctor's answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from insightface_cakd.errors import CAKDError


@dataclass(frozen=True)
class Finding:
    """One line of the answer.

    Args:
        kind: "ok"; "note", worth knowing; "problem", a run would not start or not do what its config says.
        text: what was looked at and what was found; a problem says how to fix it.
    """

    kind: Literal["ok", "note", "problem"]
    text: str

    def __str__(self) -> str:
        return f"{self.kind:8}{self.text}"


def ok(text: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding("ok", text)


def note(text: str) -> Finding:
    """Return a finding that does not stand in the way of a run."""
    return Finding("note", text)


def problem(text: str) -> Finding:
    """Return a finding that stands in the way of a run."""
    return Finding("problem", text)


def refusals(*checks: Callable[[], Any]) -> Iterator[Finding]:
    """Run the checks of a training run, all of them, and give what each one refuses as a problem, in its own words."""
    for check in checks:
        try:
            check()
        except CAKDError as error:
            yield problem(str(error))
