"""The distillation losses: one file each, found by its name.

Each is a module for anyone's loop, `from insightface_cakd.losses import CosineLoss`. Nothing here imports torch before a loss is asked for.
"""

from typing import TYPE_CHECKING, Any

from insightface_cakd.losses.catalogue import LOSSES, facts_of
from insightface_cakd.losses.facts import LOGITS, LossFacts

if TYPE_CHECKING:
    from insightface_cakd.losses.base import DistillLoss

__all__ = ["LOGITS", "LOSSES", "DistillLoss", "LossFacts", "facts_of"]


def __getattr__(name: str) -> Any:
    if name == "DistillLoss":
        from insightface_cakd.losses.base import DistillLoss

        return DistillLoss
    for loss in LOSSES:
        if facts_of(loss).__name__ == name:
            return LOSSES[loss]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(facts_of(loss).__name__ for loss in LOSSES)])
