"""Knowledge distillation for InsightFace's arcface_torch: one flag, `--distill RECIPE`.

`import insightface_cakd as cakd` offers the names of `__all__`, each imported when it is first used.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insightface_cakd import losses
    from insightface_cakd.api.evaluation import evaluate
    from insightface_cakd.api.exporting import export
    from insightface_cakd.api.recipes import recipes
    from insightface_cakd.api.recogniser import Recogniser, load
    from insightface_cakd.api.training import train
    from insightface_cakd.api.verifying import verify

__version__ = "0.1.0"
__all__ = ["Recogniser", "evaluate", "export", "load", "losses", "recipes", "train", "verify"]

# Name -> file of `api/`.
_API = {
    "Recogniser": "recogniser",
    "evaluate": "evaluation",
    "export": "exporting",
    "load": "recogniser",
    "recipes": "recipes",
    "train": "training",
    "verify": "verifying",
}


class _CallablePackage(ModuleType):
    """A package that is called as the function of its name."""

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        name = self.__name__.rpartition(".")[2]
        found: Callable[..., Any] = getattr(import_module(f"{__name__}.api.{_API[name]}"), name)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)


class _Root(ModuleType):
    """This package: `evaluate` and `export` are packages within it, and functions of its API."""

    def __setattr__(self, name: str, value: object) -> None:
        # Python sets the attribute when one of its packages has been imported, whoever imported it.
        if name in _API and isinstance(value, ModuleType):
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Root


def __getattr__(name: str) -> Any:
    if name in ("evaluate", "export", "losses"):
        return import_module(f"{__name__}.{name}")
    if name in _API:
        return getattr(import_module(f"{__name__}.api.{_API[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
