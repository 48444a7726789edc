"""What a term can read, and what a recipe needs for it."""

from dataclasses import dataclass
from typing import Literal

Part = Literal["urfm", "prompts"]


@dataclass(frozen=True)
class Reading:
    """What a recipe must have so that a term can read this.

    Args:
        part: part of the recipe that it needs; None for what every run has.
        by_class: whether it has one value per class of the head.
        centres: whether it needs the teacher's class centres.
        prompted: whether it is a teacher's output with prompts, compared with its output without.
    """

    part: Part | None = None
    by_class: bool = False
    centres: bool = False
    prompted: bool = False
    trains_prompts: bool = False
    taps: bool = False


READINGS = {
    "embedding": Reading(taps=True),
    "map": Reading(taps=True),
    "logits": Reading(by_class=True, centres=True),
    "centre_logits": Reading(centres=True, taps=True),
    "urfm_attention": Reading(part="urfm", trains_prompts=True),
    "urfm_fields": Reading(part="urfm", trains_prompts=True),
    "urfm_anchor": Reading(part="urfm", prompted=True),
    "prompted": Reading(part="prompts", prompted=True, trains_prompts=True),
    "prompted_logits": Reading(part="prompts", by_class=True, centres=True, trains_prompts=True),
}
# What a source from outside the package offers needs nothing else.
OTHER = Reading(taps=True)


def reading(name: str) -> Reading:
    """Return what a reading needs; one of an outside source needs nothing."""
    return READINGS.get(name, OTHER)
