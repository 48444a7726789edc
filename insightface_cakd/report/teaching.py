"""Whether a teacher is better than its student, in one line."""

from collections.abc import Mapping
from statistics import mean


def against_teacher(teacher: Mapping[str, float], student: Mapping[str, float]) -> str | None:
    """Return what a finished student reaches against its teacher.

    None without a set on which both were measured.

    Args:
        teacher: set -> accuracy, in [0, 1].
        student: as the teacher.
    """
    names = [name for name in student if name in teacher]
    if not names:
        return None
    said = ", ".join(f"{name}: student {_percent(student[name])}, teacher {_percent(teacher[name])}" for name in names)
    if mean(student[name] for name in names) <= mean(teacher[name] for name in names):
        return said
    return (
        f"{said}: the student ends above its teacher, which may have held it back. Use a better teacher, or see with `cakd compare` "
        "whether the student alone does as well."
    )


def weak_teacher(teacher: float, alone: float, who: str = "the student alone") -> str | None:
    """Return a warning if a teacher is below a student without it.

    Args:
        teacher: accuracy, in [0, 1].
        alone: as the teacher.
        who: the student with that accuracy.
    """
    if teacher >= alone:
        return None
    return (
        f"the teacher ({_percent(teacher)}) is below {who} ({_percent(alone)}): it can hold the student back. "
        "Train it longer or on more data, or use a better one."
    )


def distilled_below(name: str, gain: float, teacher: float | None, alone: float) -> str | None:
    """Return what to do where distillation cost accuracy.

    None where the student is not below the student alone.

    Args:
        name: of the recipe.
        gain: its student's accuracy minus that of the student alone.
        teacher: its teacher's accuracy; None where it was not measured.
        alone: accuracy of the student alone.
    """
    if gain >= 0:
        return None
    said = f"{name}: {100 * gain:+.2f} points against the student alone"
    if teacher is None:
        return f"{said}. Measure its teacher with `cakd doctor`: one below {_percent(alone)} holds the student back."
    if teacher < alone:
        return f"{said}; {weak_teacher(teacher, alone)}"
    return (
        f"{said}, though its teacher ({_percent(teacher)}) is above it ({_percent(alone)}). Lower the weights of its terms "
        "(--recipe-set losses.TERM.weight=W), or train for more epochs."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
