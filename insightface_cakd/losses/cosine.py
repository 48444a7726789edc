"""Direction of the embedding."""

from torch import Tensor

from insightface_cakd.losses.base import DistillLoss, unit


class CosineLoss(DistillLoss):
    """Turn the student's embedding into the teacher's direction.

    mean_i (1 - cos(s_i, t_i))

    Shape:
        student, teacher: (B, D).
    Units:
        1 - cosine, in [0, 2]; 0 when all directions agree. The gradient falls with the student's norm.
    Edge cases:
        A zero row counts as cosine 0. B = 0 returns a differentiable 0.
    Source:
        Also called angular distillation (ShrinkTeaNet); tuned, the baseline to beat.
    """

    name = "cosine"
    paper = "cosine; weight of the order of the margin scale"

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return mean(1 - cos)."""
        return (1 - (unit(student) * unit(teacher)).sum(dim=-1)).mean()
