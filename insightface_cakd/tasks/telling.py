"""What a run says as it begins and ends."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from insightface_cakd.hosts.embedded.parts import RunResult
from insightface_cakd.recipe import Recipe
from insightface_cakd.recipe.teacher import CACHED, TeacherSpec
from insightface_cakd.report.teaching import against_teacher
from insightface_cakd.runtime.run_folder import RunFolder
from insightface_cakd.tasks.teaching import Measured, Teaching, at_chance
from insightface_cakd.teachers import Teacher

LOG = "training.log"
# Digits of a hash that tell two files apart for a reader.
_DIGITS = 12
# As arcface_torch's CallBackVerification logs a measurement.
_ACCURACY = re.compile(r"\[([^\[\]]+)\]\[\d+\]Accuracy-Flip: ([\d.]+)")


def terms_of(recipe: Recipe) -> str:
    """Return a recipe's head, if any, and weighted terms."""
    parts = [] if recipe.head is None else [recipe.head.summary]
    return " + ".join([*parts, *(f"{term.weight:g} x {term.name}" for term in recipe.losses)])


def beginning(name: str, recipe: Recipe, teaching: Teaching, data: Path) -> Iterator[str]:
    """Yield the block with which a distilled run begins.

    Args:
        name: of the recipe.
        recipe: what is run.
        teaching: its teachers, measured where they can be.
        data: the config's `rec`.
    """
    yield f"distilling with the recipe {name}"
    for key, teacher in teaching.teachers.items():
        yield f"  teacher  {', '.join(_said(teacher, recipe.named_teachers[key], teaching.said(key)))}"
    yield f"  images   {data}"
    yield f"  terms    {terms_of(recipe) or 'none'}"
    for key, teacher in teaching.teachers.items():
        for one in teaching.said(key):
            if (chance := at_chance(one.accuracy, one.pairs)) is not None:
                yield f"teacher {teacher.name}: {chance}"


def _said(teacher: Teacher, spec: TeacherSpec, measured: Iterable[Measured]) -> Iterator[str]:
    yield teacher.name
    yield from (one.text() for one in measured)
    if teacher.sha256:
        yield f"sha256 {teacher.sha256[:_DIGITS]}"
    yield f"read from the cache {spec.weights}" if spec.network == CACHED else "runs in every step"


def ending(result: RunResult, run: RunFolder) -> Iterator[str]:
    """Yield what a run reached, where it lies, and the next command.

    Beside its teacher, on the sets on which that was measured.
    """
    teacher = {} if run.teacher is None else run.teacher.sets
    if (line := against_teacher(teacher, result.accuracy)) is not None:
        yield line
    for name, accuracy in result.accuracy.items():
        if name not in teacher:
            yield f"{name}: {100 * accuracy:.2f} %"
    yield f"weights: {run.model}"
    if (run.path / LOG).is_file():
        yield f"log: {run.path / LOG}"
    yield f"next: cakd export {run.path} {run.path.with_suffix('.onnx')}"


def logged_accuracies(output: Path) -> dict[str, float]:
    """Return the last accuracy of each set in arcface_torch's log."""
    log = output / LOG
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return {name: float(accuracy) for name, accuracy in _ACCURACY.findall(text)}
