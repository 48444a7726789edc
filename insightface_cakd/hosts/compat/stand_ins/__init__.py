"""Replacements of packages that arcface_torch imports for a few calls.

Each folder goes on `sys.path`, since a spawned worker has its parent's `sys.path` but not its `sys.modules`.
"""

import importlib
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

from insightface_cakd.hosts.checkout import remove_path, take_out


def stand_in(stack: ExitStack, package: str) -> None:
    """Let `import PACKAGE` find the stand-in until the stack closes."""
    before = take_out({package})
    root = str(Path(__file__).parent / package)
    sys.path.insert(0, root)
    importlib.invalidate_caches()
    stack.callback(_take_back, package, root, before)


def _take_back(package: str, root: str, before: dict[str, ModuleType]) -> None:
    remove_path(root)
    take_out({package})
    sys.modules.update(before)
    importlib.invalidate_caches()
