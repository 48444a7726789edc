"""The teachers of a run: built, found, measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.errors import TeacherError
from insightface_cakd.evaluate.pairs.sets import load_thinned
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.recipe import Recipe
from insightface_cakd.recipe.teacher import CACHED, TeacherSpec
from insightface_cakd.tasks.task import Task
from insightface_cakd.teachers import Teacher, build_teacher

# Pairs of a verification set on which a teacher is measured, evenly spread; one of hundreds of layers is slow on a CPU.
PAIRS = 600


@dataclass(frozen=True)
class Measured:
    """A teacher's accuracy on a verification set.

    Args:
        name: of the set.
        accuracy: in [0, 1].
        pairs: on so many.
        total: pairs of the set.
    """

    name: str
    accuracy: float
    pairs: int
    total: int

    def text(self) -> str:
        """Return the accuracy, and of how many pairs if not of all."""
        part = "" if self.pairs == self.total else f", {self.pairs} of {self.total} pairs"
        return f"{100 * self.accuracy:.2f} % on {self.name}{part}"


@dataclass(frozen=True)
class Teaching:
    """The teachers of a run, by name.

    Args:
        checked: what `teacher.check` measured of those that have it.
        measured: what was measured of each on the run's verification sets.
    """

    teachers: Mapping[str, Teacher]
    checked: Mapping[str, Measured] = field(default_factory=dict)
    measured: Mapping[str, Sequence[Measured]] = field(default_factory=dict)

    @property
    def accuracy(self) -> float | None:
        """Accuracy of the first on its check's .bin, if measured."""
        found = self.checked.get(next(iter(self.teachers), ""))
        return None if found is None else found.accuracy

    @property
    def sets(self) -> dict[str, float]:
        """Set -> accuracy of the best teacher on the run's verification sets."""
        best: dict[str, float] = {}
        for one in (one for found in self.measured.values() for one in found):
            best[one.name] = max(one.accuracy, best.get(one.name, 0.0))
        return best

    def said(self, name: str) -> list[Measured]:
        """Return all that was measured of a teacher, each set once."""
        found = list(self.measured.get(name, ()))
        checked = self.checked.get(name)
        return found if checked is None or checked in found else [checked, *found]

    @property
    def first(self) -> Teacher | None:
        """The first teacher, None in a run without one."""
        return next(iter(self.teachers.values()), None)


def make_teachers(
    namespace: ModuleType,
    recipe: Recipe,
    device: torch.device,
    checks: bool = True,
    data: Path | None = None,
    sets: Mapping[str, Path] | None = None,
) -> Teaching:
    """Build the recipe's teachers, and measure them.

    Args:
        namespace: the host's `train_v2`, whose `get_model` knows the host's networks.
        checks: measure them; one rank of a run is enough.
        data: the run's data folder; `teacher.check.bin` may be the name of a set in it.
        sets: the run's verification sets by name, see `sets_of`.
    """
    built, checked, measured = {}, {}, {}
    for name, spec in recipe.named_teachers.items():
        if data is not None:
            find_check_bin(spec, data)
        built[name] = teacher = build_teacher(spec, namespace.get_model, device)
        if not checks:
            continue
        if (found := check_teacher(teacher, spec, device)) is not None:
            checked[name] = found
        measured[name] = _on_sets(teacher, spec, sets or {}, found, device)
    return Teaching(built, checked, measured)


def sets_of(cfg: Any, task: Task) -> dict[str, Path]:
    """Return the sets on which teacher and student can be compared.

    They are the run's verification sets, by name.

    Args:
        cfg: of the run.
        task: one that measures something else has none.
    """
    if task.has_own_measures or task.has_own_answer:
        return {}
    paths = {str(name): Path(str(cfg.rec)) / f"{name}.bin" for name in getattr(cfg, "val_targets", ())}
    return {name: path for name, path in paths.items() if path.is_file()}


def measurable(teacher: Teacher, spec: TeacherSpec) -> bool:
    """Return whether a teacher can be measured on pairs before it teaches.

    A cache knows no other images, and one that learns with its student knows nothing yet.
    """
    return spec.network != CACHED and not spec.trains and len(teacher.answer) == 1


def _on_sets(
    teacher: Teacher, spec: TeacherSpec, sets: Mapping[str, Path], checked: Measured | None, device: torch.device
) -> list[Measured]:
    """Measure a teacher on at most `PAIRS` pairs of each set; what was measured already is not again."""
    found = []
    for name, path in sets.items() if measurable(teacher, spec) else ():
        if checked is not None and spec.check is not None and Path(spec.check.bin).resolve() == path.resolve():
            found.append(checked)
            continue
        pairs, total = load_thinned(path, PAIRS)
        found.append(Measured(name, verify(teacher.computed, pairs, device).accuracy, len(pairs.same), total))
    return found


def at_chance(accuracy: float, pairs: int) -> str | None:
    """Return a warning if a model may judge pairs by chance only.

    Args:
        accuracy: in [0, 1].
        pairs: on so many.
    """
    if not is_at_chance(accuracy, pairs):
        return None
    return (
        f"is no better than chance ({100 * accuracy:.2f} % of {pairs} pairs): wrong weights, or colours in another order or range than it "
        "takes (teacher.channels, mean, std)."
    )


def is_at_chance(accuracy: float, pairs: int) -> bool:
    """Return whether guesses could reach an accuracy, within two deviations.

    Args:
        accuracy: in [0, 1].
        pairs: on so many.
    """
    return accuracy <= 0.5 + 2 * 0.5 / pairs**0.5


def find_check_bin(spec: TeacherSpec, data: Path) -> None:
    """Resolve, in place, a `teacher.check.bin` that names a set in the folder."""
    check = spec.check
    if check is not None and not Path(check.bin).is_file() and (data / check.bin).is_file():
        check.bin = str(data / check.bin)


def check_teacher(teacher: Teacher, spec: TeacherSpec, device: torch.device | str) -> Measured | None:
    """Return the teacher's 10-fold verification accuracy.

    None when the recipe asks for no check. `TeacherError` when it is below the floor, or the teacher is a cache, which knows no other
    images.
    """
    if spec.check is None:
        return None
    if spec.network == CACHED:
        raise TeacherError(
            "teacher check: a cache cannot be measured, it knows the training images only; expected no "
            "teacher.check. Remove it, and let the recipe that writes the cache check its teacher."
        )
    # Prompts that have not learnt yet must not enter a measurement of the weights.
    pairs = load_bin(spec.check.bin)
    accuracy = verify(teacher.computed, pairs, torch.device(device)).accuracy
    if not accuracy >= spec.check.floor:
        raise TeacherError(
            f"teacher check: {Path(spec.check.bin).stem} {accuracy:.3f} < expected {spec.check.floor}. Wrong weights, "
            f"colour order or input range (it is given {teacher.takes}: see teacher.channels, mean and std)."
        )
    return Measured(Path(spec.check.bin).stem, accuracy, len(pairs.same), len(pairs.same))
