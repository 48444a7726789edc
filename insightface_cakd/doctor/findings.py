"""What the doctor is asked about, and the lines of its answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from insightface_cakd.errors import CAKDError


@dataclass(frozen=True)
class Case:
    """What is looked at: the options of a `cakd train`, each of which may be left open.

    Args:
        config: a job by name or path, of the embedded host or of the checkout.
        data: folder with train.rec; the config's `rec` when not given.
        host: any folder of a clone of insightface.
        distill: recipe by name or path.
        teacher: replaces the recipe's `teacher.weights`.
        centres: replaces the recipe's `teacher.centres`.
        settings: `key=value` overrides of the config.
        fixes: fixes of the checkout that change results and are wanted.
        no_fixes: fixes of the checkout to leave out.
        prototypes: replaces the recipe's `teacher.prototypes`.
        init: replaces the recipe's `student.weights`.
    """

    config: str | None = None
    data: Path | None = None
    host: str | None = None
    distill: str | None = None
    teacher: str | None = None
    centres: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    no_fixes: tuple[str, ...] = ()
    prototypes: str | None = None
    init: str | None = None


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
