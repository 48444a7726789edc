"""How the weight of a term changes over a run."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["constant", "linear", "by_epoch", "cosine"]
# The keys that each kind reads.
KEYS: dict[Kind, tuple[str, ...]] = {
    "constant": (),
    "linear": ("steps", "epochs"),
    "by_epoch": ("epochs",),
    "cosine": ("to",),
}


@dataclass(frozen=True)
class Length:
    """Batches per rank in an epoch, and number of epochs."""

    epoch: int
    epochs: int

    @property
    def total(self) -> int:
        """Batches per rank in the run."""
        return self.epoch * self.epochs


class ScheduleSpec(BaseModel):
    """The course of a term's weight, as a factor of it.

    In the file `cosine` stands for `{kind: cosine}`.

    A step is one batch per rank, as arcface_torch counts; with `gradient_acc` the optimiser updates once in several steps.

    Args:
        kind: `constant`: 1. `linear`: from 0 in the first step to 1 after `steps` steps or `epochs` epochs. `by_epoch`:
            min(e / epochs, 1), e the epoch, counted from 0: GKD's warm-up, so that the term does nothing in the first epoch.
            `cosine`: half a cosine from 1 in the first step to `to` at the end of the run.
        steps: length of `linear`, in steps.
        epochs: length of `linear`, fractions allowed, or of `by_epoch`, in epochs; 10 for the latter if not given.
        to: final factor of `cosine`; 0 if not given.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Kind = "constant"
    steps: int | None = Field(default=None, gt=0)
    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    to: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> "ScheduleSpec":
        given = [name for name in ("steps", "epochs", "to") if getattr(self, name) is not None]
        foreign = [name for name in given if name not in KEYS[self.kind]]
        if foreign:
            raise ValueError(f"{self.kind} has no {foreign[0]}; it takes {' or '.join(KEYS[self.kind]) or 'no key'}")
        if self.kind == "linear" and len(given) != 1:
            raise ValueError("linear needs one of steps and epochs")
        return self

    @property
    def needs_length(self) -> bool:
        """Whether it depends on how long an epoch or the run is."""
        return self.kind in ("by_epoch", "cosine") or (self.kind == "linear" and self.steps is None)


def factor(schedule: ScheduleSpec, step: int, length: Length | None) -> float:
    """Return the factor of the weight after `step` batches."""
    if schedule.kind == "constant":
        return 1.0
    if not schedule.needs_length:
        return min(step / (schedule.steps or 1), 1.0)
    assert length is not None, "checked when the method enters the loop"
    if schedule.kind == "linear":
        return min(step / ((schedule.epochs or 1) * length.epoch), 1.0)
    if schedule.kind == "by_epoch":
        return min(step // length.epoch / (schedule.epochs or 10), 1.0)
    to = schedule.to or 0.0
    done = min(step / max(length.total, 1), 1.0)
    return to + (1 - to) * (1 + math.cos(math.pi * done)) / 2
