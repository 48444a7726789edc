"""A fix for arcface_torch's code, applied in this process and undone afterwards."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from insightface_cakd.errors import RunError, did_you_mean


@dataclass(frozen=True)
class Fix:
    """One named fix.

    `breaks` says what goes wrong without it, with file:line of the pinned checkout, and `until` when it can be removed.
    `applies` returns why it is needed in this process, or None; what `apply` replaces is restored when the stack closes.
    A fix with `changes_results` is off unless requested, and printed when on.
    """

    name: str
    breaks: str
    since: str
    fix: str
    until: str
    applies: Callable[[], str | None]
    apply: Callable[[ExitStack], None]
    changes_results: bool = False


fix_for_every_version = functools.partial(Fix, since="every version", applies=lambda: "every version")


# The fixes chosen by each open `with applied(...)` of this process.
_running: list[list[Fix]] = []


def are_applied() -> bool:
    """Return whether fixes are applied in this process."""
    return bool(_running)


@contextmanager
def applied(fixes: Sequence[Fix], wanted: Iterable[str] = (), unwanted: Iterable[str] = ()) -> Iterator[list[Fix]]:
    """Apply the fixes that this process needs, within a `with` block.

    `wanted` names fixes among those that change results, `unwanted` names fixes to leave out; an unknown name is a RunError.
    """
    known = [fix.name for fix in fixes]
    for name in (*wanted, *unwanted):
        if name not in known:
            raise RunError(f"fix '{name}': no such fix; known: {', '.join(known)}.{did_you_mean(name, known)}")
    chosen = [
        fix
        for fix in fixes
        if fix.name not in unwanted and (fix.name in wanted or not fix.changes_results) and fix.applies() is not None
    ]
    with ExitStack() as stack:
        _running.append(chosen)
        stack.callback(_running.remove, chosen)
        for fix in chosen:
            fix.apply(stack)
            if fix.changes_results and os.environ.get("RANK", "0") == "0":
                print(f"fix {fix.name} is on and changes results: {fix.fix}", flush=True)
        yield chosen


_MISSING = object()


def replace(stack: ExitStack, owner: Any, name: str, value: Any) -> None:
    """Set an attribute, perhaps a new one, until the stack closes."""
    before = vars(owner).get(name, _MISSING) if hasattr(owner, "__dict__") else getattr(owner, name, _MISSING)
    setattr(owner, name, value)
    if before is _MISSING:
        stack.callback(delattr, owner, name)
    else:
        stack.callback(setattr, owner, name, before)


def wrapping(
    owner: Any, name: str, stack: ExitStack | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace an attribute by the decorated function, whose first argument it becomes.

    Without a stack the attribute is not restored.
    """
    original = getattr(owner, name)

    def install(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return function(original, *args, **kwargs)

        if stack is None:
            setattr(owner, name, wrapped)
        else:
            replace(stack, owner, name, wrapped)
        return wrapped

    return install
