"""Changes a module of the checkout when it is first imported."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

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
    """Finds one module as the other finders would; its loader calls `change` after the import."""

    def __init__(self, name: str, change: Change) -> None:
        self.name, self.change = name, change
        self.looking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the other finders' spec, with our loader around theirs."""
        if fullname != self.name or self.looking:
            return None
        self.looking = True
        try:
            spec = find_spec(fullname)
        finally:
            self.looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.change)
        return spec


class _Loader(Loader):
    """Runs a module with another loader, then changes it."""

    def __init__(self, loader: Loader, change: Change) -> None:
        self.loader, self.change = loader, change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the other loader does."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then change it."""
        self.loader.exec_module(module)
        self.change(module)

    def __getattr__(self, name: str) -> Any:
        # `linecache`, `inspect` and `pickle` ask a loader for its file and source.
        return getattr(self.loader, name)
