"""The order of an image's neighbours (DarkRank)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from insightface_cakd.losses.base import DistillLoss, squared_distances, unit
from insightface_cakd.losses.options import OldName


class DarkRankLoss(DistillLoss):
    """Make the teacher's order of each image's nearest neighbours likely.

    DarkRank's hard form:

    -1/B sum_i sum_{k <= l} (s_{i,pi(k)} - log sum_{k <= k' <= l} exp s_{i,pi(k')}), pi(1), ..., pi(l) the images nearest to i for the
    teacher, nearest first, and s_ij = -alpha |f_i - f_j|^beta of the student's unit embeddings

    Shape:
        student, teacher: (B, D_s), (B, D_t); widths may differ. Gathered to the batch of all ranks.
    Units:
        Nats, >= 0; log(l!) for a student that knows no order, and above 0 for one that equals the teacher, since equal orders have
        different likelihoods. Unchanged when either side is scaled.
    Args:
        sharpness: alpha, the factor of the scores, > 0.
        power: beta, of the distance, >= 2; below that equal rows have no finite gradient.
        length: l, how many neighbours are ordered, >= 2.
    Raises:
        RecipeError: an argument is out of range.
    Edge cases:
        An image is no neighbour of itself; its duplicate is one. B <= l ranks the B - 1 others; B < 3 leaves no order and returns a
        differentiable 0.
    Source:
        Chen et al., DarkRank, AAAI 2018: alpha = beta = 3. l = 3 as in EKD's released baseline; RKD's has 4.
    """

    name = "darkrank"
    gathers = True
    same_shape = False
    zero_at_teacher = False
    memory = "N^2"
    paper = "DarkRank (1707.01220), hard; alpha = beta = 3, l = 3"

    def __init__(
        self,
        sharpness: Annotated[
            float, Field(gt=0, description="a positive number; the paper uses 3"), OldName("alpha")
        ] = 3.0,
        power: Annotated[float, Field(ge=2, description="a number >= 2; the paper uses 3"), OldName("beta")] = 3.0,
        length: Annotated[int, Field(ge=2, description="a whole number >= 2; usual are 3 and 4")] = 3,
    ) -> None:
        super().__init__()
        self.sharpness, self.power, self.length = sharpness, power, length

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the negative log likelihood of the teacher's order."""
        length = min(self.length, student.shape[0] - 1)
        if length < 2:
            return student.sum() * 0
        itself = torch.eye(student.shape[0], dtype=torch.bool, device=student.device)
        order = squared_distances(unit(teacher)).masked_fill(itself, float("inf")).topk(length, largest=False).indices
        distances = squared_distances(unit(student)).gather(1, order)
        scores = -self.sharpness * distances ** (self.power / 2)  # (B, l), best first
        remaining = scores.flip(1).logcumsumexp(dim=1).flip(1)
        return (remaining - scores).sum(dim=1).mean()
