"""Measurement of a run's teachers, and of what its student starts from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean

import torch

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.evaluate.pairs.separation import gain_in_separation, separation
from insightface_cakd.evaluate.pairs.sets import load_thinned
from insightface_cakd.evaluate.pairs.verification import VerificationResult, verify
from insightface_cakd.networks.models import Embed
from insightface_cakd.recipe import Recipe
from insightface_cakd.report.teaching import weak_teacher
from insightface_cakd.runtime.findings import Finding, note, ok
from insightface_cakd.tasks.teaching import PAIRS, Teaching, at_chance, measurable
from insightface_cakd.teachers import Teacher


def examine_teachers(
    recipe: Recipe, teaching: Teaching, sets: Mapping[str, Path], device: torch.device, start: Embed | None = None
) -> Iterator[Finding]:
    """Measure the teachers on a run's verification sets.

    On the first set with both orders of colours, of which the better separates the pairs better.

    Args:
        start: the student that starts from trained weights; measured too, and compared.
    """
    loaded = {name: load_thinned(path, PAIRS)[0] for name, path in sets.items()}
    best: dict[str, float] = {}
    for key, teacher in teaching.teachers.items():
        if not measurable(teacher, recipe.named_teachers[key]):
            continue
        for number, (name, pairs) in enumerate(loaded.items()):
            result = verify(teacher.computed, pairs, device)
            best[name] = max(result.accuracy, best.get(name, 0.0))
            yield ok(f"teacher {teacher.name}: {_measured(result)} on {name}, given {teacher.takes}")
            if (chance := at_chance(result.accuracy, len(result.same))) is not None:
                yield note(f"teacher {teacher.name}: {chance}")
            if number == 0:
                yield _of_the_other_order(teacher, name, pairs, result, device)
    if start is not None and best:
        reached = {name: verify(start, pairs, device).accuracy for name, pairs in loaded.items()}
        line = weak_teacher(mean(best.values()), mean(reached.values()), "the student before its first step")
        said = f"student before its first step: {100 * mean(reached.values()):.2f} % in the mean of {', '.join(loaded)}"
        yield ok(said) if line is None else note(line)


def _of_the_other_order(
    teacher: Teacher, name: str, pairs: VerificationSet, own: VerificationResult, device: torch.device
) -> Finding:
    """Measure a teacher with the other order of colours, and say which fits."""
    mine = teacher.takes.channels
    order = "rgb" if mine == "bgr" else "bgr"
    other = verify(lambda images: teacher.computed(images.flip(1)), pairs, device)
    gain = gain_in_separation(own.distances, other.distances, own.same)
    said = f"teacher {teacher.name}: {_measured(other)} on {name} as {order}, {_measured(own)} as {mine}"
    if gain.high < 0:
        return ok(f"{said}: {mine} fits")
    if gain.low > 0:
        return note(f"{said}: {order} fits better. Set teacher.channels: {order}.")
    return ok(f"{said}: no difference that these pairs show")


def _measured(result: VerificationResult) -> str:
    apart = separation(result.distances, result.same)
    return f"{100 * result.accuracy:.2f} % of {len(result.same)} pairs (separation {apart:.2f})"
