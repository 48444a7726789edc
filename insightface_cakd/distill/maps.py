"""The learnt maps from a student's embeddings to its teacher's."""

from pathlib import Path

from torch import Tensor

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.sources.activations import Activations
from insightface_cakd.runtime.run_folder import MAPS
from insightface_cakd.runtime.tensor_file import save_atomically


def learnt_maps(distillation: Distillation) -> dict[str, Tensor]:
    """Return the matrices of the linear projectors between embeddings.

    Keys are a term's name, with the width for a nested term; each matrix is (D_teacher, D_student), on the CPU.
    """
    found: dict[str, Tensor] = {}
    for source in distillation.sources:
        if not isinstance(source, Activations) or distillation.student is None:
            continue
        tapped = {term.name for term in source.setting.terms if term.student is not None or term.teacher is not None}
        for name, projector in source.projectors.items():
            weight = getattr(projector, "weight", None)
            if name not in tapped and isinstance(weight, Tensor) and weight.ndim == 2:
                found[name] = weight.detach().float().cpu().clone()
    return found


def save_maps(folder: Path, distillation: Distillation) -> None:
    """Write a run's learnt maps, if any, beside its model."""
    if maps := learnt_maps(distillation):
        save_atomically(maps, folder / MAPS)
