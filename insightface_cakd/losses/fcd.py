"""Squared distance of unit embeddings."""

from torch import Tensor

from insightface_cakd.losses.base import DistillLoss, unit


class FeatureConsistencyLoss(DistillLoss):
    """Bring the student's unit embedding to the teacher's.

    1 / (2 B) sum_i |s_i / |s_i| - t_i / |t_i||^2

    Shape:
        student, teacher: (B, D).
    Units:
        Half a squared distance, in [0, 2]; equals mean(1 - cos) where no row is zero.
    Edge cases:
        A zero row counts as the origin. B = 0 returns a differentiable 0.
    Source:
        CoupleFace (ECCV 2022), feature consistency distillation; the form of its L2 is an assumption.
    """

    name = "fcd"
    paper = "CoupleFace (2204.05502), feature consistency"

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return half the mean squared distance of the unit rows."""
        return (unit(student) - unit(teacher)).square().sum(dim=-1).mean() / 2
