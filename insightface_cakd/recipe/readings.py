"""What a term may read, and what each kind of reading asks of its recipe."""

from dataclasses import dataclass
from typing import Literal

Part = Literal["urfm", "prompts"]


@dataclass(frozen=True)
class Reading:
    """What a recipe must have so that a term can read this.

    Args:
        part: of the recipe; none for what every run has.
        by_class: whether it is a value for each class of the head, which needs the teacher's class centres.
        prompted: whether it is what a teacher says with its prompts, against what it says without.
        trains_prompts: whether prompts learn from it.
        taps: whether a term may name module paths.
    """

    part: Part | None = None
    by_class: bool = False
    prompted: bool = False
    trains_prompts: bool = False
    taps: bool = False


READINGS = {
    "embedding": Reading(taps=True),
    "map": Reading(taps=True),
    "logits": Reading(by_class=True),
    "urfm_attention": Reading(part="urfm", trains_prompts=True),
    "urfm_fields": Reading(part="urfm", trains_prompts=True),
    "urfm_anchor": Reading(part="urfm", prompted=True),
    "prompted": Reading(part="prompts", prompted=True, trains_prompts=True),
    "prompted_logits": Reading(part="prompts", by_class=True, trains_prompts=True),
}
# What a source of the user's own offers asks for nothing else.
OTHER = Reading(taps=True)


def reading(name: str) -> Reading:
    """Return what a reading asks for; of a source from outside the package, nothing."""
    return READINGS.get(name, OTHER)
