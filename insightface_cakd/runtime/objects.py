"""Imports a class or function by its path, `package.module:Name`."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from insightface_cakd.errors import CAKDError, RecipeError, did_you_mean, in_one_line


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
    try:
        module = importlib.import_module(module_name)
    # The user's module runs here, and may raise anything.
    except Exception as failure:
        raise error(
            f"{where} is '{path}'; cannot import {module_name} ({type(failure).__name__}: {in_one_line(failure)}); expected a "
            f"{kind} as package.module:Name. Install the package, or start beside it."
        ) from failure
    if not hasattr(module, name):
        own = [known for known in vars(module) if not known.startswith("_")]
        raise error(
            f"{where} is '{path}'; {module_name} has no {name}; expected a {kind} of that module.{did_you_mean(name, own)}"
        )
    return getattr(module, name)


def construct(kind: Callable[..., Any], options: Mapping[str, Any], where: str, error: type[CAKDError]) -> Any:
    """Return `kind(**options)`; report unusable options in one line."""
    known = {name: taken for name, taken in inspect.signature(kind).parameters.items() if name != "self"}
    for name in options:
        if name not in known:
            raise error(
                f"{where}: {name} is not an option of {kind.__name__}; known: {', '.join(known) or 'none'}.{did_you_mean(name, known)}"
            )
    missing = [name for name, taken in known.items() if taken.default is taken.empty and name not in options]
    if missing:
        raise error(f"{where}: {missing[0]} is missing; {kind.__name__} needs it. Give it.")
    try:
        return kind(**options)
    except CAKDError as problem:
        raise error(f"{where}: {problem}") from problem
