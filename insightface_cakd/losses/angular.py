"""Direction of the embedding, squared (ShrinkTeaNet)."""

from torch import Tensor

from insightface_cakd.losses.base import DistillLoss, unit


class AngularLoss(DistillLoss):
    """Turn the student's embedding into the teacher's direction, far ones first.

    mean_i (1 - cos(s_i, t_i))^2

    Shape:
        student, teacher: (B, D).
    Units:
        Squared 1 - cosine, in [0, 4]. Its pull is 2 (1 - cos) times that of `cosine`: it fades near the teacher.
    Edge cases:
        A zero row counts as cosine 0. B = 0 returns a differentiable 0.
    Source:
        Duong et al., ShrinkTeaNet, 2019, weight 1, as VarGFaceNet prints its equation: the squared norm of 1 - cos. Other
        accounts drop the square; that is `cosine`. ShrinkTeaNet compares student maps that pass through the teacher's remaining layers
        in the same way; here the embeddings alone.
    """

    name = "angular"
    paper = "ShrinkTeaNet (1905.10620), angular distillation of the embedding"

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return mean((1 - cos)^2)."""
        return (1 - (unit(student) * unit(teacher)).sum(dim=-1)).square().mean()
