"""Similarities between the images of a batch, entry by entry (SP)."""

from typing import Literal

from torch import Tensor

from insightface_cakd.losses.base import EPS, DistillLoss, unit

Form = Literal["rows", "cosine"]


class SimilarityPreservingLoss(DistillLoss):
    """Make images as similar for the student as for the teacher.

    1 / B^2 |G^S - G^T|_F^2, with G the Gram matrix f f^T of the raw features, each row of it divided by its length (`rows`), or the
    cosines of the features (`cosine`)

    Shape:
        student, teacher: (B, ...), flattened to one row an image; widths may differ. Gathered to the batch of all ranks.
    Units:
        Squared similarity; in [0, 4 / B] with `rows`, in [0, 4] with `cosine`. Unchanged when either side is scaled.
    Args:
        form: "rows" as in the paper, or "cosine", the form of the face baselines.
    Raises:
        RecipeError: there is no such form.
    Edge cases:
        B = 1 returns 0, and B = 0 a differentiable 0. A zero row has similarity 0 to all.
    Source:
        Tung and Mori, SP, ICCV 2019; weight 3000. EKD's released code runs the baseline of its tables with `cosine`; `rows` divides by B
        more or less once more, so weights do not carry over.
    """

    name = "sp"
    gathers = True
    same_shape = False
    memory = "N^2"
    paper = "SP (1907.09682); weight 3000"

    def __init__(self, form: Form = "rows") -> None:
        super().__init__()
        self.form = form

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean squared difference of the similarities."""
        similarities = cosines if self.form == "cosine" else row_normalised_gram
        return (similarities(student.flatten(1)) - similarities(teacher.flatten(1))).square().mean()


def cosines(rows: Tensor) -> Tensor:
    """Return the cosines between all rows, (B, B)."""
    directions = unit(rows)
    return directions @ directions.T


def row_normalised_gram(rows: Tensor) -> Tensor:
    """Return inner products of all rows, (B, B), each result row normalised."""
    # The result does not depend on the scale; it only keeps float32 products in range.
    scale = rows.detach().square().sum(dim=-1).max().sqrt().clamp_min(EPS)
    rows = rows / scale
    return unit(rows @ rows.T)
