"""Runs a checkout's scripts on current package versions."""

import difflib
import importlib
import multiprocessing
import os
import runpy
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from insightface_cakd.errors import CAKDError, RunError
from insightface_cakd.hosts.checkout import Checkout, find_checkout, remove_path, where_raised
from insightface_cakd.hosts.compat.fix import applied, replace
from insightface_cakd.hosts.failures import describe
from insightface_cakd.hosts.packages import how_to_install
from insightface_cakd.runtime.foreign import TRACEBACK, print_traceback


def run_script(
    script: str,
    args: Sequence[str] = (),
    host: str | os.PathLike[str] | None = None,
    wanted: Iterable[str] = (),
    unwanted: Iterable[str] = (),
) -> int:
    """Run a script with the needed fixes, and return its exit code.

    The working directory stays as it is: relative paths among the arguments, and those that the script itself writes
    to, mean what they mean to the caller. The script's folder and then the checkout come first on `sys.path`.
    For `host`, `wanted` and `unwanted` see `find_checkout` and `applied`. A script that stops with an error is a RunError
    of one line; with `CAKD_TRACEBACK=1` its traceback is printed first.
    """
    checkout = find_checkout(host)
    path = find_script(checkout, script)
    fixes = importlib.import_module("insightface_cakd.hosts.compat").FIXES
    with checkout.imported(), applied(fixes, wanted, unwanted), _as_main(path, args):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as leaving:
            return _exit_code(leaving.code)
        except Exception as error:
            print_traceback(error)
            raise _in_one_line(error, path, checkout) from error
    return 0


def find_script(checkout: Checkout, script: str) -> Path:
    """Find a script in the checkout, in `recognition/`, or as a path."""
    places = (checkout.folder / script, checkout.folder.parent / script, Path(script))
    for place in places:
        if place.is_file():
            return Path(os.path.normpath(place.absolute()))
    known = known_scripts(checkout)
    by_file = {Path(name).name: name for name in known}
    near = [by_file[name] for name in difflib.get_close_matches(Path(script).name, by_file, n=3, cutoff=0.6)]
    near += difflib.get_close_matches(script, known, n=1, cutoff=0.6)
    nearest = ", ".join(dict.fromkeys(near)) or ", ".join(name for name in known if "/" not in name)
    raise RunError(
        f"host run {script}: no such file in {checkout.folder}, in {checkout.folder.parent}, or as a path; expected a "
        f"script. Nearest: {nearest}."
    )


def known_scripts(checkout: Checkout) -> list[str]:
    """Return files that parse arguments or have a `__main__` block."""
    around = checkout.folder.parent
    files = [file for pattern in ("*.py", "scripts/*.py", "utils/plot.py") for file in checkout.folder.glob(pattern)]
    files += (around / "_evaluation_").glob("*/*.py")
    runs = [file for file in files if _runs_by_itself(file)]
    return sorted(Path(os.path.relpath(file, checkout.folder)).as_posix() for file in runs)


def _exit_code(code: object) -> int:
    """Return the exit code of `sys.exit(code)`; print a text on stderr."""
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def _in_one_line(error: Exception, script: Path, checkout: Checkout) -> RunError:
    """Return the line of host code at or under which a script stopped, and why."""
    inside = checkout.folder if script.is_relative_to(checkout.folder) else script.parent
    where = f"{script.name} stopped at {where_raised(error, inside)}: {describe(error)}"
    if isinstance(error, CAKDError):
        return RunError(where)
    hint = how_to_install(error) if isinstance(error, ImportError) else f"--traceback or {TRACEBACK}=1 tells more."
    return RunError(f"{where}. {hint}")


def _runs_by_itself(file: Path) -> bool:
    text = file.read_text(encoding="utf-8", errors="replace")
    return "__main__" in text or "sys.argv" in text or "parse_args" in text


@contextmanager
def _as_main(script: Path, args: Sequence[str]) -> Iterator[None]:
    """Make the process look as if Python had started the script."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    methods = multiprocessing.get_all_start_methods()
    with ExitStack() as stack:
        replace(stack, sys, "argv", [str(script), *args])
        sys.path.insert(0, str(script.parent))
        stack.callback(remove_path, str(script.parent))
        if "fork" in methods and (chosen or methods[0]) != "fork":
            # A spawned worker gets none of the fixes, and no local functions of a script (onnx_ijbc.py:61).
            multiprocessing.set_start_method("fork", force=True)
            stack.callback(multiprocessing.set_start_method, chosen, force=True)
        yield
