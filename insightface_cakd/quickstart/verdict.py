"""The first line of the quickstart's result: what the teacher was worth."""

from dataclasses import dataclass

from insightface_cakd.tasks.teaching import is_at_chance

# Below this, a difference between two networks on the same pairs is more than chance.
LEVEL = 0.05
_TRAINED = "These people are too few to train one: name a recogniser that is trained, --teacher FILE.onnx, or --teacher buffalo_l."
_GIVEN = "Its weights may be wrong, or its colours in another order or range (`cakd doctor` tries both orders): name another --teacher."


@dataclass(frozen=True)
class Reached:
    """Accuracies of the three networks on the same pairs, in [0, 1].

    Args:
        pairs: how many.
        p: of the difference between the two students, by an exact paired test.
        given: whether the teacher is the user's own.
    """

    teacher: float
    alone: float
    distilled: float
    pairs: int
    p: float
    given: bool


def verdict(reached: Reached) -> str:
    """Say whether the teacher helped, and what to do if not."""
    teacher, alone, distilled = (f"{100 * one:.2f} %" for one in (reached.teacher, reached.alone, reached.distilled))
    advice = _GIVEN if reached.given else _TRAINED
    if is_at_chance(reached.teacher, reached.pairs):
        return (
            f"The teacher is no better than chance ({teacher} of {reached.pairs} pairs): it teaches nothing. {advice}"
        )
    if reached.teacher <= reached.alone:
        return f"The teacher ({teacher}) is not better than the student alone ({alone}): it can hold the student back. {advice}"
    better = f"The teacher ({teacher}) is better than the student alone ({alone})"
    if reached.p >= LEVEL:
        return (
            f"{better}, but the student that it taught ({distilled}) is not clearly better: these {reached.pairs} pairs show no "
            "difference. Add images, which need no names (task `unlabelled`), or start from a trained student (cakd train --init)."
        )
    if reached.distilled < reached.alone:
        return (
            f"{better}, but the student that it taught ends below it ({distilled}). Lower the weights of its terms "
            "(--recipe-set losses.TERM.weight=W), or train for more epochs."
        )
    return f"{better}, and so is the student that it taught ({distilled})."
