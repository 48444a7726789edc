"""What papers report of the methods, for a column of its own: other students, teachers and data than one's own runs."""

from collections.abc import Iterable
from dataclasses import dataclass

SETTING = (
    "published: IJB-C TAR in % at FAR 1e-4, and its difference to the same student without distillation as the paper prints it "
    "(89.13). Student MobileFaceNet of 1.2 M parameters (not `mbf`, which has 2.06 M), MS1MV2, R50 teacher of 95.16. The row without "
    "distillation is weak: arcface_torch reports 93.61 for a plain `mbf` on MS1MV2. None of these numbers was measured here."
)
CAVEATS = {
    "a": "the teacher is, or probably is, an R100.",
    "b": "the teacher is another R50, of 96.05, than the one that its table prints.",
    "c": "probably another student, of 2.06 M parameters; its rivals were not trained again, so no difference is given.",
}


@dataclass(frozen=True)
class Published:
    """A published result.

    Args:
        tar: TAR in % at FAR 1e-4 on IJB-C.
        caveat: key of `CAVEATS`, or nothing.
    """

    tar: float
    caveat: str = ""


ALONE = 89.13
# EKD's tables 2 to 4; QUD's and AdaDistill's own for theirs, AdaDistill's poster for ArcDistill (fixed centres), GKD from third parties.
PUBLISHED = {
    "fitnet_map": Published(87.76),
    "kd": Published(88.37),
    "darkrank": Published(89.28),
    "sp": Published(88.43),
    "cckd": Published(87.99),
    "rkd": Published(89.65),
    "angular": Published(87.80, "a"),
    "triplet_distillation": Published(84.57, "a"),
    "margin_distillation": Published(85.71, "a"),
    "ekd": Published(90.48),
    "mse": Published(91.29, "b"),
    "proxylesskd": Published(91.70, "b"),
    "qud": Published(91.92, "b"),
    "adadistill": Published(93.27, "b"),
    "gkd": Published(94.34, "c"),
}


def published(recipe: str) -> str:
    """Return the cell of a recipe: the result, its difference, its caveat; nothing where none is known.

    Args:
        recipe: name of a shipped recipe.
    """
    known = PUBLISHED.get(recipe)
    if known is None:
        return ""
    difference = "" if known.caveat == "c" else f" ({known.tar - ALONE:+.2f})"
    return f"{known.tar:.2f}{difference}{known.caveat and f' [{known.caveat}]'}"


def caveats(recipes: Iterable[str]) -> str:
    """Return what must be said where these recipes' published results stand; nothing where there are none.

    Args:
        recipes: names, those in the table.
    """
    shown = [PUBLISHED[name] for name in recipes if name in PUBLISHED]
    if not shown:
        return ""
    letters = sorted({result.caveat for result in shown} - {""})
    return " ".join([SETTING, *(f"[{letter}] {CAVEATS[letter]}" for letter in letters)])
