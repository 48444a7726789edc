"""Replacements of packages that arcface_torch imports for a few calls.

They are served by our own code. Each folder here contains one package and goes on `sys.path` while host code runs. A
path rather than entries of `sys.modules`, because a spawned worker process starts with its parent's `sys.path` and
nothing else of it.
"""

import importlib
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

from insightface_cakd.hosts.checkout import take_out


def stand_in(stack: ExitStack, package: str) -> None:
    """Let `import PACKAGE` find the stand-in until the stack closes.

    Modules of the package that were there before then return.
    """
    before = take_out({package})
    root = str(Path(__file__).parent / package)
    sys.path.insert(0, root)
    importlib.invalidate_caches()
    stack.callback(_take_back, package, root, before)


def _take_back(package: str, root: str, before: dict[str, ModuleType]) -> None:
    if root in sys.path:
        sys.path.remove(root)
    take_out({package})
    sys.modules.update(before)
    importlib.invalidate_caches()
