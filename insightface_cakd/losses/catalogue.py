"""The losses by name, each found by its file alone.

Of each file of this folder, what says something about its losses is run, and nothing else: constants, and of each class the attributes
and the constructor's signature.
"""

import ast
import builtins
import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insightface_cakd.errors import RecipeError, did_you_mean
from insightface_cakd.losses.facts import LossFacts
from insightface_cakd.runtime.objects import import_object

if TYPE_CHECKING:
    from insightface_cakd.losses.base import DistillLoss

FOLDER = Path(__file__).parent
PACKAGE = "insightface_cakd.losses"
BASE = f"{PACKAGE}.base"
# What is imported as it stands: none of these imports torch.
LIGHT = ("math", "typing", "collections.abc", "pydantic", f"{PACKAGE}.facts", f"{PACKAGE}.options")


class Losses(Mapping[str, "type[DistillLoss]"]):
    """The losses of this package by name, imported when asked for.

    `LOSSES["package.module:Class"]` gives a loss of another package, which is not counted among them.
    """

    def __getitem__(self, name: str) -> "type[DistillLoss]":
        """Return the class of a loss.

        Raises:
            KeyError: no loss of this package has this name.
            RecipeError: the module or the class does not exist, or is no loss.
        """
        if ":" in name:
            return _own_class(name, "loss")
        facts = _named()[name]
        found: type[DistillLoss] = getattr(importlib.import_module(facts.__module__), facts.__name__)
        return found

    def __contains__(self, name: object) -> bool:
        """Return whether a loss of this package has this name."""
        return name in _named()

    def __iter__(self) -> Iterator[str]:
        """Yield the names of this package's losses, in order."""
        return iter(_named())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(_named())


LOSSES = Losses()


def facts_of(name: str, where: str = "loss") -> type[LossFacts]:
    """Return the facts of a loss, with the signature of its constructor.

    For a loss of this package, torch is not imported.
    """
    if ":" in name:
        return _own_class(name, where)
    if name not in _named():
        known = f"known losses: {', '.join(LOSSES)}; one of your own is package.module:Class."
        raise RecipeError(f"{where} is '{name}'; {known}{did_you_mean(name, LOSSES)}")
    return _named()[name]


def _own_class(path: str, where: str) -> "type[DistillLoss]":
    from insightface_cakd.losses.base import DistillLoss

    found = import_object(path, where, "loss")
    if not isinstance(found, type) or not issubclass(found, DistillLoss):
        raise RecipeError(f"{where} is '{path}', which is no loss; expected a subclass of {BASE}.DistillLoss.")
    for name in LossFacts.__annotations__:
        fact, kind = getattr(found, name), type(getattr(LossFacts, name))
        if not isinstance(fact, kind):
            raise RecipeError(
                f"{where} is '{path}': its {name} is a {type(fact).__name__}; expected a {kind.__name__}. Correct it."
            )
    return found


@cache
def _named() -> dict[str, type[LossFacts]]:
    found: dict[str, type[LossFacts]] = {}
    for path in sorted(FOLDER.glob("*.py")):
        module = f"{PACKAGE}.{path.stem}"
        if path.stem in ("__init__", "catalogue") or module in LIGHT:
            continue
        for facts in _outline(module).values():
            if not _is_facts(facts) or facts.__module__ != module or not vars(facts).get("name"):
                continue
            if facts.name in found:
                other = found[facts.name].__module__
                raise RecipeError(f"{module}: '{facts.name}' is the name of a loss of {other} too; expected another.")
            found[facts.name] = facts
    return dict(sorted(found.items()))


def _is_facts(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, LossFacts)


@cache
def _outline(module: str) -> dict[str, Any]:
    """Return a file's light imports, constants and losses' facts, without torch."""
    path = FOLDER / f"{module.rpartition('.')[2]}.py"
    names: dict[str, Any] = {"__name__": module}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            names |= _imported(node)
        elif isinstance(node, ast.ClassDef):
            bases: list[ast.expr] = [
                base for base in node.bases if isinstance(base, ast.Name) and _is_facts(names.get(base.id))
            ]
            if bases:
                _run(_class(node, bases, names, path), path, names)
        elif (constant := _constant(node, names)) is not None:
            _run(constant, path, names)
    return names


def _imported(node: ast.ImportFrom) -> dict[str, Any]:
    source = BASE if node.module == PACKAGE else node.module or ""
    if source in LIGHT:
        module = importlib.import_module(source)
        return {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
    if source.startswith(f"{PACKAGE}."):
        there = _outline(source)
        return {alias.asname or alias.name: there[alias.name] for alias in node.names if alias.name in there}
    return {}


def _class(node: ast.ClassDef, bases: list[ast.expr], names: dict[str, Any], path: Path) -> ast.ClassDef:
    """Return a class with its docstring, its attributes and an empty constructor."""
    kept: list[ast.stmt] = []
    for item in node.body:
        if (attribute := _constant(item, names)) is not None:
            kept.append(attribute)
        elif isinstance(item, ast.FunctionDef) and item.name == "__init__":
            unknown = _unknown(item.args, names)
            if unknown is not None:
                raise RecipeError(
                    f"{path.name}:{item.lineno}: {node.name}.__init__ needs '{unknown}', which is not known without torch; expected "
                    f"annotations and defaults of {', '.join(LIGHT)} and of this file's constants."
                )
            item.body, item.decorator_list, item.returns = [ast.Pass()], [], None
            kept.append(item)
        elif isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
            kept.append(item)
    node.bases, node.body, node.decorator_list = bases, kept or [ast.Pass()], []
    return node


def _constant(node: ast.stmt, names: dict[str, Any]) -> ast.Assign | None:
    """Return an assignment without annotation, if its value can be evaluated."""
    if (
        not isinstance(node, ast.Assign | ast.AnnAssign)
        or node.value is None
        or _unknown(node.value, names) is not None
    ):
        return None
    targets: list[ast.expr] = node.targets if isinstance(node, ast.Assign) else [node.target]
    return ast.copy_location(ast.Assign(targets, node.value), node)


def _unknown(node: ast.AST, names: dict[str, Any]) -> str | None:
    """Return the first name that is not defined; None if all are."""
    read = (part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load))
    return next((name for name in read if name not in names and not hasattr(builtins, name)), None)


def _run(node: ast.stmt, path: Path, names: dict[str, Any]) -> None:
    tree = ast.fix_missing_locations(ast.Module([node], type_ignores=[]))
    exec(compile(tree, str(path), "exec"), names)
