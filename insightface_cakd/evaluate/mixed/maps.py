"""Brings a teacher's gallery and a narrower student's probes to one width."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.networks.models import Embed
from insightface_cakd.runtime.reading import reading
from insightface_cakd.runtime.run_folder import MAPS
from insightface_cakd.runtime.tensor_file import first_oddity

Side = Literal["student", "teacher"]


def at_one_width(teacher: Embed, student: Embed, run: Path, side: Side, execution: Execution) -> tuple[Embed, Embed]:
    """Bring both models' embeddings to one width by a learnt map.

    The map is P.

    At the student's width the teacher's embeddings t become pinv(P) t, the least-squares solution s of P s = t, and P^T t where P has
    orthonormal columns: a gallery that was enrolled with the teacher can be reduced once. At the teacher's width the student's embeddings
    s become P s, and the gallery stays.

    Args:
        teacher: enrolled.
        student: asks.
        run: output folder that has the map.
        side: whose width.
        execution: where the models run.

    Raises:
        EvaluationError: the run has no map, or none between these widths.
    """
    blank = torch.zeros(2, 3, FACE_SIZE, FACE_SIZE, device=execution.device)
    with torch.no_grad():
        wide, narrow = (int(model(blank).shape[1]) for model in (teacher, student))
    learnt = _read(run, wide, narrow)
    if side == "teacher":
        return teacher, _through(student, learnt)
    return _through(teacher, torch.linalg.pinv(learnt.double()).float()), student


def _read(run: Path, wide: int, narrow: int) -> Tensor:
    """Return the map (wide, narrow) of a run."""
    path = run / MAPS
    if not path.is_file():
        raise EvaluationError(
            f"{path}: does not exist; expected the output folder of a run whose embedding term has a linear or orthogonal projector. "
            "Correct --map."
        )
    with reading(path, EvaluationError, "the maps that a run saved. Train again.", Exception):
        maps: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    if (odd := first_oddity(maps)) is not None:
        raise EvaluationError(
            f"{path}: holds {odd}; expected the maps that a run saved, dense tensors by name. Train again."
        )
    fitting = [matrix for matrix in maps.values() if tuple(matrix.shape) == (wide, narrow)]
    if not fitting:
        said = ", ".join(f"{name} {tuple(matrix.shape)}" for name, matrix in maps.items())
        raise EvaluationError(
            f"{path}: holds {said}, and the teacher gives {wide} numbers a face, the student {narrow}; expected a map ({wide}, {narrow}). "
            "Give the run of this student."
        )
    return fitting[0]


def _through(embed: Embed, matrix: Tensor) -> Embed:
    """Return a model whose embeddings pass through a matrix."""

    def mapped(images: Tensor) -> Tensor:
        rows = embed(images).float()
        return rows @ matrix.to(rows.device).T

    return mapped
