"""Imports a class or function by its path, `package.module:Name`."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from insightface_cakd.errors import CAKDError, RecipeError, did_you_mean
from insightface_cakd.runtime.foreign import foreign, take_for_foreign


def is_place(name: str) -> bool:
    """Return whether a name has the form `package.module:Name`."""
    module, colon, attribute = name.partition(":")
    return bool(colon and module and attribute)


def import_object(path: str, where: str, kind: str, error: type[CAKDError] = RecipeError) -> Any:
    """Return the object that `package.module:Name` names.

    Modules in the working directory are found too; `kind` is what is expected there, such as "loss".
    """
    module_name, _, name = path.partition(":")
    if not is_place(path):
        raise error(f"{where} is '{path}'; expected a {kind} as package.module:Name.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    take_for_foreign(module_name)
    expected = f"a {kind} as package.module:Name. Install the package, or start beside it."
    with foreign(f"{where} is '{path}'", error, expected, fails=f"cannot import {module_name}"):
        module = importlib.import_module(module_name)
        if hasattr(module, name):
            return getattr(module, name)
    own = [known for known in vars(module) if not known.startswith("_")]
    raise error(
        f"{where} is '{path}'; {module_name} has no {name}; expected a {kind} of that module.{did_you_mean(name, own)}"
    )


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def construct(kind: Callable[..., Any], options: Mapping[str, Any], where: str, error: type[CAKDError]) -> Any:
    """Return `kind(**options)`; report unusable options in one line."""
    if not callable(kind):
        raise error(f"{where}: is a {type(kind).__name__}; expected a class or function. Correct it.")
    with foreign(where, error, "a class or function whose arguments can be read. Correct it.", of=kind):
        taken_ones = inspect.signature(kind).parameters.values()
    known = {one.name: one for one in taken_ones if one.name != "self" and one.kind in _NAMED}
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken_ones)
    for name in options:
        if name not in known and not takes_any:
            raise error(
                f"{where}: {name} is not an option of {kind.__name__}; known: {', '.join(known) or 'none'}.{did_you_mean(name, known)}"
            )
    missing = [name for name, taken in known.items() if taken.default is taken.empty and name not in options]
    if missing:
        raise error(f"{where}: {missing[0]} is missing; {kind.__name__} needs it. Give it.")
    try:
        with foreign(where, error, "it to be made of these options. Correct it, or the options.", of=kind):
            return kind(**options)
    except CAKDError as problem:
        if type(problem) is error and str(problem).startswith(f"{where}: "):
            raise
        raise error(f"{where}: {problem}") from problem
