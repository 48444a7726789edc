"""Finds, recognises and imports a user's arcface_torch folder without changing it."""

import ast
import hashlib
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from insightface_cakd.errors import CAKDError, RunError, in_one_line
from insightface_cakd.hosts.pinned import KNOWN, PINNED, PINNED_COMMIT

ENVIRONMENT = "ARCFACE_TORCH"
INSIDE = Path("recognition") / "arcface_torch"
NAMES = ("get_model", "CombinedMarginLoss", "PartialFC_V2")
GET_ONE = "git clone https://github.com/deepinsight/insightface and pass its recognition/arcface_torch."


@dataclass(frozen=True)
class Checkout:
    """An arcface_torch folder.

    Its version is "pinned" (`PINNED_COMMIT`), "known" (an earlier state of it) or "modified" (without a commit).
    `changed` lists code files that differ from the pinned ones or are missing, without added files and `configs/`.
    """

    folder: Path
    version: str
    changed: tuple[str, ...] = ()
    commit: str | None = None

    def __str__(self) -> str:
        files = f"; differs in {', '.join(self.changed)}" if self.version == "modified" else ""
        commit = f" ({self.commit})" if self.commit else ""
        return f"{self.folder}: {self.version}{commit}{files}"

    @property
    def facts(self) -> dict[str, Any]:
        """What a run's provenance records."""
        return {
            "folder": str(self.folder),
            "version": self.version,
            "commit": self.commit,
            "changed": list(self.changed),
        }

    @contextmanager
    def imported(self) -> Iterator[None]:
        """Make host code importable within a `with` block; see `load`.

        The folder comes first on `sys.path`. Modules from elsewhere that have one of its top-level names (`utils`,
        `eval`, `dataset`, ...) are set aside and put back afterwards; the folder's own modules are then removed.
        """
        names = top_level_names(self.folder)
        aside = take_out(names)
        path = list(sys.path)
        writes = sys.dont_write_bytecode
        sys.path.insert(0, str(self.folder))
        # The folder may belong to someone else or be read-only: no `__pycache__` is left in it.
        sys.dont_write_bytecode = True
        importlib.invalidate_caches()
        try:
            yield
        finally:
            take_out(names)
            sys.modules.update(aside)
            sys.path[:] = path
            sys.dont_write_bytecode = writes
            importlib.invalidate_caches()

    def load(self, name: str) -> ModuleType:
        """Import inside `imported`; exceptions become RunErrors with file and line."""
        try:
            with warnings.catch_warnings():
                # Warnings about the host's source text (`is 0`, a decorated class): its user cannot act on them.
                warnings.simplefilter("ignore", SyntaxWarning)
                warnings.filterwarnings("ignore", "Decorating classes is deprecated", FutureWarning)
                return importlib.import_module(name)
        except CAKDError:
            raise
        except (Exception, SystemExit) as error:
            raise RunError(
                f"{where_raised(error, self.folder)}: {type(error).__name__} while importing {name}: "
                f"{in_one_line(error)}; expected code that imports. `cakd doctor --host DIR` lists what is missing."
            ) from error

    def require_seam(self) -> None:
        """Check, without an import, that `train_v2.py` binds a recipe's names."""
        script = self.folder / "train_v2.py"
        bound = bound_names(_parsed(script))
        gone = [name for name in NAMES if name not in bound]
        if gone:
            raise RunError(
                f"{script}: {', '.join(gone)} not bound at module level; expected `from ... import` of {', '.join(NAMES)}, as in "
                f"{PINNED_COMMIT}. Undo that change, or train on the embedded host (without --host)."
            )


def find_checkout(path: str | os.PathLike[str] | None = None) -> Checkout:
    """Find arcface_torch in a clone of insightface, or by `$ARCFACE_TORCH`."""
    given = os.fspath(path) if path is not None else os.environ.get(ENVIRONMENT, "")
    where = f"--host {given}" if path is not None else f"{ENVIRONMENT}={given}"
    if not given:
        raise RunError(
            f"--host: no folder, and {ENVIRONMENT} is not set; expected an arcface_torch checkout. {GET_ONE}"
        )
    start = Path(given).expanduser().absolute()
    if not start.is_dir():
        raise RunError(f"{where}: no such folder; expected an arcface_torch checkout. {GET_ONE}")
    folder = next(filter(_is_arcface_torch, _candidates(start)), None)
    if folder is None:
        raise RunError(f"{where}: no arcface_torch in it or around it; expected a clone of insightface. {GET_ONE}")
    head = folder / "partial_fc_v2.py"
    if not head.is_file() or "PartialFC_V2" not in bound_names(_parsed(head)):
        raise RunError(
            f"{folder}: too old, it has no partial_fc_v2.PartialFC_V2; expected a checkout since 2022-07-13. Update it: git pull."
        )
    return fingerprint(folder)


def fingerprint(folder: Path) -> Checkout:
    """Recognise the version of a checkout by its files' hashes."""
    hashes = {name: _sha256(folder / name) for name in PINNED}
    changed = tuple(name for name, digest in hashes.items() if digest != PINNED[name])
    if not changed:
        return Checkout(folder, "pinned", (), PINNED_COMMIT)
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items(), key=lambda item: item[0]))
    commit = KNOWN.get(hashlib.sha256(lines.encode()).hexdigest())
    return Checkout(folder, "modified" if commit is None else "known", changed, commit)


def top_level_names(folder: Path) -> set[str]:
    """Return its top-level modules, and sub-folders with a Python file."""
    packages = {child.name for child in folder.iterdir() if child.is_dir() and any(child.glob("*.py"))}
    return packages | {file.stem for file in folder.glob("*.py")}


def bound_names(tree: ast.Module) -> set[str]:
    """Return the names that a module's top level binds, blocks included."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            waiting += ast.iter_child_nodes(node)
    return names


def where_raised(error: BaseException, folder: Path) -> str:
    """Return `file:line` of the innermost frame inside, or of a SyntaxError."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    return f"{inside[-1].filename}:{inside[-1].lineno}" if inside else str(folder)


def _candidates(start: Path) -> Iterator[Path]:
    yield from (start, start / "arcface_torch", start / INSIDE)
    for parent in start.parents:
        yield parent
        if (parent / ".git").exists() or start.is_relative_to(parent / INSIDE.parent):
            yield parent / INSIDE


def _is_arcface_torch(folder: Path) -> bool:
    scripts = ("train_v2.py", "train.py")
    return (folder / "backbones").is_dir() and any((folder / name).is_file() for name in scripts)


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except (OSError, SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.strerror if isinstance(error, OSError) else getattr(error, "msg", error)
        raise RunError(
            f"{file}{line}: cannot be read as Python ({reason}); expected arcface_torch's file. Restore it: git checkout {file.name}."
        ) from error


def _sha256(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest() if file.is_file() else None


def take_out(names: set[str]) -> dict[str, ModuleType]:
    """Remove the modules with these top-level names from `sys.modules` and return them."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}


def remove_path(folder: str) -> None:
    """Take a folder off `sys.path`, if a script has not done so."""
    if folder in sys.path:
        sys.path.remove(folder)
