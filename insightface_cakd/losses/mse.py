"""Squared difference of embeddings, in each of the scales that papers use."""

from typing import Literal

from torch import Tensor

from insightface_cakd.losses.base import DistillLoss, unit

Reduction = Literal["mean", "sum"]


class EmbeddingSquaredLoss(DistillLoss):
    """Bring the student's embedding to the teacher's.

    1 / B sum_i |s_i - t_i|^2, of unit vectors unless `normalised` is off, divided by the width D too with `reduction: mean`

    Shape:
        student, teacher: (B, D).
    Units:
        Normalised, the squared distance is 2 (1 - cos): the loss is `cosine` with another weight, 2 for `sum` and 2 / D for `mean` (0.0039
        at D = 512), and a weight means nothing before the reduction is known. Raw, squared activation of the teacher.
    Args:
        normalised: compare directions.
        reduction: over the width, "mean" or "sum"; the batch is always averaged.
    Raises:
        RecipeError: there is no such reduction, or `normalised` is no truth value.
    Edge cases:
        Normalised, a zero row counts as the origin. B = 0 returns a differentiable 0.
    Source:
        `mean`: PocketNet (weight 100 at D = 128) and the feature baselines of QUD and AdaDistill (weight 1, without a margin loss). `sum`:
        VarGFaceNet (weight 7). Raw `mean`: the FitNet baseline of EKD's released code.
    """

    name = "mse"
    paper = "PocketNet (2108.10710) and VarGFaceNet (1910.04985), MSE of embeddings"

    def __init__(self, normalised: bool = True, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.normalised, self.reduction = normalised, reduction

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean over the batch of the squared differences."""
        if self.normalised:
            student, teacher = unit(student), unit(teacher)
        squares = (student - teacher).square()
        return squares.mean() if self.reduction == "mean" else squares.flatten(1).sum(dim=1).mean()
