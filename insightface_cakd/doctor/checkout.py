"""Examination of a checkout of arcface_torch."""

from collections.abc import Iterable, Iterator

from insightface_cakd.errors import PatchError, RunError
from insightface_cakd.hosts.checkout import Checkout, where_raised
from insightface_cakd.hosts.compat import FIXES
from insightface_cakd.hosts.failures import describe
from insightface_cakd.hosts.packages import EXTRA, how_to_install, missing_host_packages
from insightface_cakd.hosts.patching import status
from insightface_cakd.hosts.pinned import PINNED_COMMIT
from insightface_cakd.runtime.findings import Finding, note, ok, problem, refusals
from insightface_cakd.runtime.foreign import print_traceback

# Packages that train_v2.py needs, directly or through its imports; only scripts need the others.
TRAINING = ("scikit-learn", "scipy", "torchvision")


def examine_checkout(checkout: Checkout) -> Iterator[Finding]:
    """Examine a checkout without importing it.

    Findings are about its version, its patches, the names that a recipe needs in it, and its packages.
    """
    if checkout.version == "pinned":
        yield ok(f"host {checkout.folder}: the pinned arcface_torch ({checkout.commit}), not modified")
    elif checkout.version == "known":
        yield note(
            f"host {checkout.folder}: an earlier arcface_torch ({checkout.commit}), not modified; lines below are of {PINNED_COMMIT}"
        )
    else:
        yield note(
            f"host {checkout.folder}: modified, it differs from {PINNED_COMMIT} in {', '.join(checkout.changed)}"
        )
        yield from _patches(checkout)
    yield from refusals(checkout.require_seam)
    yield from _packages()


def _patches(checkout: Checkout) -> Iterator[Finding]:
    try:
        states = status(checkout.folder)
    except PatchError as error:
        yield note(f"patches: not looked for. {error}")
        return
    applied = [state.patch.name for state in states if state.applied]
    if applied:
        names = "" if len(applied) == len(states) else f": {', '.join(applied)}"
        yield note(f"patches: {len(applied)} of {len(states)} of `cakd patch` are in{names}")


def _packages() -> Iterator[Finding]:
    missing = missing_host_packages()
    needed = [name for name in missing if name in TRAINING]
    others = [name for name in missing if name not in TRAINING]
    if needed:
        yield problem(f"packages: {', '.join(needed)} not installed; arcface_torch's training imports them. {EXTRA}")
    if others:
        yield note(f"packages: {', '.join(others)} not installed; scripts of `cakd host run` import them. {EXTRA}")
    if not missing:
        yield ok("packages: what arcface_torch imports besides is installed")


def examine_fixes(wanted: Iterable[str], unwanted: Iterable[str]) -> Iterator[Finding]:
    """Report for each compatibility fix whether it is on, and why.

    Call it before any fix is applied in this process.

    Args:
        wanted: names of fixes that change results and were requested with --fix.
    """
    idle = []
    for fix in FIXES:
        why = fix.applies()
        if why is None:
            idle.append(fix.name)
        elif fix.name in unwanted:
            yield note(f"fix {fix.name} is left out by --no-fix, though {why}: {fix.breaks}")
        elif fix.changes_results and fix.name not in wanted:
            yield note(
                f"fix {fix.name} is off, since it changes results: {fix.breaks}. --fix {fix.name} switches it on: {fix.fix}"
            )
        else:
            said = " and changes results" if fix.changes_results else ""
            yield note(f"fix {fix.name} is on{said} ({why}): {fix.fix}. Without it: {fix.breaks}")
    if idle:
        yield ok(f"fixes not needed here: {', '.join(idle)}")


def import_problem(error: RunError, checkout: Checkout, unwanted: Iterable[str] = ()) -> Finding:
    """Return why the checkout's `train_v2` could not be imported."""
    cause = error.__cause__
    if cause is None:
        return problem(str(error))
    print_traceback(cause)
    hint = "Undo the last change there; CAKD_TRACEBACK=1 shows the traceback."
    if unwanted:
        hint = f"It may need what --no-fix left out: {', '.join(unwanted)}."
    elif isinstance(cause, ImportError):
        hint = how_to_install(cause)
    where = where_raised(cause, checkout.folder)
    return problem(f"{where}: {describe(cause)}, on importing train_v2; expected code that imports. {hint}")
