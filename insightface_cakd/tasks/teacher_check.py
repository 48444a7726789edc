"""Measures a teacher before training."""

from pathlib import Path

import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.errors import TeacherError
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.recipe.teacher import CACHED, TeacherSpec
from insightface_cakd.teachers.base import Teacher


def check_teacher(teacher: Teacher, spec: TeacherSpec, device: torch.device | str) -> float | None:
    """Return the teacher's 10-fold verification accuracy, in [0, 1].

    None when the recipe asks for no check.

    Args:
        device: where the images are prepared.
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
