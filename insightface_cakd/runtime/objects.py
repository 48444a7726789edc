"""A class or function by its place: `package.module:Name`."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from insightface_cakd.errors import CAKDError, did_you_mean


def is_place(name: str) -> bool:
    """Return whether a name is of the form `package.module:Name`."""
    module, colon, attribute = name.partition(":")
    return bool(colon and module and attribute)


def import_object(place: str, where: str, error: type[CAKDError]) -> Any:
    """Return what stands at a place; modules beside the working directory are found too.

    Args:
        place: `package.module:Name`.
        where: what an error line begins with.
        error: class of the error.

    Raises:
        CAKDError: of that class: no such form, module or name, or the module cannot be imported.
    """
    if not is_place(place):
        raise error(f"{where}: '{place}'; expected package.module:Name. Write the module, a colon and the name.")
    module_name, _, attribute = place.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    # A user's module may raise anything at import.
    except Exception as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
        raise error(
            f"{where}: {module_name} cannot be imported ({reason}); expected a module on the Python path. Correct the name, install the "
            "package, or start beside it."
        ) from problem
    found = getattr(module, attribute, None)
    if found is None:
        names = [name for name in vars(module) if not name.startswith("_")]
        raise error(
            f"{where}: module {module_name} has no '{attribute}'; expected a name that it defines."
            f"{did_you_mean(attribute, names)}"
        )
    return found


def construct(kind: Callable[..., Any], options: Mapping[str, Any], where: str, error: type[CAKDError]) -> Any:
    """Return `kind(**options)`, with a line for options that it does not have.

    Args:
        kind: class or function.
        options: keyword arguments.
        where: what an error line begins with.
        error: class of the error.

    Raises:
        CAKDError: of that class: an option is not known, is missing, or is refused by the constructor.
    """
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
