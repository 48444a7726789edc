"""Classes and functions of other packages, named as `package.module:Name`."""

import importlib
from typing import Any

from insightface_cakd.errors import CAKDError, RecipeError, did_you_mean


def import_object(path: str, where: str, kind: str, error: type[CAKDError] = RecipeError) -> Any:
    """Return what `package.module:Name` names.

    Args:
        path: an importable module, a colon, and a name in it.
        where: what the error line begins with.
        kind: what is expected there, such as "loss".
        error: what is raised.

    Raises:
        CAKDError: the path has another form, the module cannot be imported, or it has no such name.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise error(f"{where} is '{path}'; expected a {kind} as package.module:Name.")
    try:
        module = importlib.import_module(module_name)
    # A module of the user's runs here, and may fail in any way.
    except Exception as failure:
        raise error(
            f"{where} is '{path}'; cannot import {module_name} ({type(failure).__name__}: {' '.join(str(failure).split())}); expected a "
            f"{kind} as package.module:Name. Install the package, or add its folder to PYTHONPATH."
        ) from failure
    if not hasattr(module, name):
        own = [known for known in vars(module) if not known.startswith("_")]
        raise error(
            f"{where} is '{path}'; {module_name} has no {name}; expected a {kind} of that module.{did_you_mean(name, own)}"
        )
    return getattr(module, name)
