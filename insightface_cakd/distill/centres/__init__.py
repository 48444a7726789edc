"""Class centres that come from the teacher: frozen, or following its embeddings."""

from torch import Tensor

from insightface_cakd.distill.centres.average import AverageCentres
from insightface_cakd.distill.centres.frozen import QualityCentres, TeacherCentres
from insightface_cakd.distill.centres.rule import CentreRule
from insightface_cakd.recipe.head import HeadSpec

__all__ = ["AverageCentres", "CentreRule", "QualityCentres", "TeacherCentres", "build_rule"]


def build_rule(spec: HeadSpec, centres: Tensor | None, teacher_width: int) -> CentreRule:
    """Return the rule for the head's class centres.

    Args:
        spec: part `head` of a recipe.
        centres: the teacher's, (classes, D); loaded where the spec asks for them.
        teacher_width: of the teacher's embeddings.
    """
    if spec.centres == "average":
        return AverageCentres(teacher_width, spec.alpha == "simple")
    assert centres is not None
    if spec.margin == "quality":
        return QualityCentres(centres, teacher_width, *spec.margins)
    return TeacherCentres(centres, teacher_width)
