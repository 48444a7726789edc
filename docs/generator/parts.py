"""The parts of a recipe that compute something, with the classes whose docstrings say what."""

import inspect
import re
import sys
from collections.abc import Iterator
from itertools import chain

from insightface_cakd.distill.sources.centres import RULES
from insightface_cakd.distill.sources.centres.adaface import AdaFaceMargin
from insightface_cakd.distill.sources.centres.geometry import GeometryMargin
from insightface_cakd.distill.sources.centres.quality import QualityMargin
from insightface_cakd.distill.sources.lora import LowRankUpdate
from insightface_cakd.recipe import Recipe
from insightface_cakd.tasks.known import TASKS
from insightface_cakd.teachers.ensemble import Ensemble

MARGINS = {"adaface": AdaFaceMargin, "quality": QualityMargin}


def _parts(recipe: Recipe) -> Iterator[tuple[str, type]]:
    """Yield each part of a recipe that computes something, by name, with the class that says what."""
    if recipe.task.kind != "identification":
        task = TASKS[recipe.task.kind]
        yield f"task {recipe.task.kind}", task
        yield from _named_in(task)
    if recipe.ensemble is not None:
        yield "ensemble", Ensemble
    if recipe.student is not None and recipe.student.lora is not None:
        yield "student.lora", LowRankUpdate
    if (head := recipe.head) is not None:
        margin = "host" if head.margin == "adaface" else head.margin
        for rule in RULES:
            if getattr(rule, "rule", None) == (head.centres, margin):
                yield f"head.centres: {head.centres}", rule
        if head.margin in MARGINS:
            yield f"head.margin: {head.margin}", MARGINS[head.margin]
        if head.geometry is not None:
            yield "head.geometry", GeometryMargin
    for term in recipe.losses:
        yield f"{term.loss}", term.facts


def _named_in(task: type) -> Iterator[tuple[str, type]]:
    """Yield the classes that a task's docstring leaves the rest to: see `Name`."""
    for name in re.findall(r"(?:see|told in) `(\w+)`", inspect.getdoc(task) or ""):
        kind = getattr(sys.modules[task.__module__], name, None)
        if isinstance(kind, type):
            yield name, kind


def parts_of(recipes: dict[str, Recipe]) -> dict[str, type]:
    """Return what recipes compute: the class that says it, by the name of the part."""
    return dict(chain.from_iterable(map(_parts, recipes.values())))
