"""Changes a module of the checkout when it is first imported."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from insightface_cakd.hosts.compat.fix import wrapping

Change = Callable[[ModuleType], None]


def after_import(stack: ExitStack, name: str, change: Change) -> None:
    """Change a module right after its import, until the stack closes.

    A module that is already imported is changed at once. The change is not undone: a checkout's modules do not outlive
    the block in which they were imported. `change` must leave a module alone that is not what it expects.
    """
    if name in sys.modules:
        change(sys.modules[name])
        return
    finder = _Finder(name, change)
    sys.meta_path.insert(0, finder)
    stack.callback(sys.meta_path.remove, finder)


def after_import_of(stack: ExitStack, module: str, name: str, change: Callable[[Any], None]) -> None:
    """Change an attribute right after its module's import, if it is there."""

    def change_it(imported: ModuleType) -> None:
        if hasattr(imported, name):
            change(getattr(imported, name))

    after_import(stack, module, change_it)


class _Finder(MetaPathFinder):
    """Finds one module as the other finders do, and lets their loader call `change` at the end."""

    def __init__(self, name: str, change: Change) -> None:
        self.name, self.change = name, change
        self.looking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the other finders' spec."""
        if fullname != self.name or self.looking:
            return None
        self.looking = True
        try:
            spec = find_spec(fullname)
        finally:
            self.looking = False
        if spec is not None and spec.loader is not None:

            @wrapping(spec.loader, "exec_module")
            def exec_and_change(original: Any, module: ModuleType) -> None:
                original(module)
                self.change(module)

        return spec
