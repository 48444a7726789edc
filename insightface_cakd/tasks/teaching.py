"""The teachers of a run: built, found, measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.errors import TeacherError
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.recipe import Recipe
from insightface_cakd.recipe.teacher import CACHED, TeacherSpec
from insightface_cakd.teachers import Teacher, build_teacher


@dataclass(frozen=True)
class Teaching:
    """The teachers of a run, by name.

    Args:
        accuracy: of the first on the recipe's .bin, in [0, 1]; None where it was not measured.
    """

    teachers: Mapping[str, Teacher]
    accuracy: float | None = None

    @property
    def first(self) -> Teacher | None:
        """The first teacher, None in a run without one."""
        return next(iter(self.teachers.values()), None)


def make_teachers(
    namespace: ModuleType, recipe: Recipe, device: torch.device, checks: bool = True, data: Path | None = None
) -> Teaching:
    """Build the recipe's teachers, and measure them where it asks for that.

    The accuracy of each is printed.

    Args:
        namespace: the host's `train_v2`, whose `get_model` knows the host's networks.
        checks: measure them on their .bin; one rank of a run is enough.
        data: the run's data folder; `teacher.check.bin` may be the name of a set in it.
    """
    built, accuracies = {}, []
    for name, spec in recipe.named_teachers.items():
        if data is not None:
            find_check_bin(spec, data)
        built[name] = teacher = build_teacher(spec, namespace.get_model, device)
        accuracy = check_teacher(teacher, spec, device) if checks else None
        accuracies.append(accuracy)
        if accuracy is not None and spec.check is not None:
            print(f"teacher {teacher.name}: accuracy {accuracy:.4f} on {Path(spec.check.bin).name}", flush=True)
    return Teaching(built, accuracies[0] if accuracies else None)


def find_check_bin(spec: TeacherSpec, data: Path) -> None:
    """Resolve, in place, a `teacher.check.bin` that names a set in the folder."""
    check = spec.check
    if check is not None and not Path(check.bin).is_file() and (data / check.bin).is_file():
        check.bin = str(data / check.bin)


def check_teacher(teacher: Teacher, spec: TeacherSpec, device: torch.device | str) -> float | None:
    """Return the teacher's 10-fold verification accuracy, in [0, 1].

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
    accuracy = verify(teacher.plain, load_bin(spec.check.bin), torch.device(device)).accuracy
    if not accuracy >= spec.check.floor:
        raise TeacherError(
            f"teacher check: {Path(spec.check.bin).stem} {accuracy:.3f} < expected {spec.check.floor}. Wrong weights, "
            "colour order (need RGB) or input range (need [-1, 1])."
        )
    return accuracy
