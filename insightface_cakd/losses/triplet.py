"""Triplets whose margin the teacher sets (TripletDistillation)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from insightface_cakd.losses.base import EPS, DistillLoss, masked_mean, squared_distances, unit
from insightface_cakd.losses.options import at_least
from insightface_cakd.losses.sp import cosines

Distance = Literal["l2", "arccos"]


class TripletDistillationLoss(DistillLoss):
    """Keep other people further away, by a margin that the teacher sets.

    The margin grows with how far apart the teacher sees them.

    mean over triplets (a, p, n) of [D_S(a, p) - D_S(a, n) + F(d)]_+, d = [D_T(a, n) - D_T(a, p)]_+,
    F(d) = smallest + (largest - smallest) d / max d

    Triplets are found in the batch: each ordered pair (a, p) of one identity, with the other person n who is nearest to a for
    the student, where D_S(a, n) - D_S(a, p) < within. D is the squared distance of unit embeddings, or their angle.

    Shape:
        student, teacher: (B, D_s), (B, D_t); widths may differ. labels: (B,). Gathered to the batch of all ranks.
    Units:
        Squared distance of unit vectors, or radians; >= 0. Not 0 for a student that equals the teacher, whose own triplets may break
        the margin. Unchanged when either side is scaled.
    Args:
        smallest: margin of triplets that the teacher does not separate, >= 0.
        largest: margin of the triplet that it separates best.
        within: triplets that hold by more are left out.
        distance: "l2" (squared) or "arccos".
    Raises:
        RecipeError: an argument is out of range.
        ShapeError: not one label for each row.
    Edge cases:
        No two images of one identity, no other identity, or B = 0: a differentiable 0. A batch of random images has few such
        pairs; a sampler of several images an identity gives more.
    Source:
        Feng et al., TripletDistillation, ICIP 2020: margins 0.2 to 0.5. MarginDistillation's released re-implementation picks a random
        n among those within 0.35; the nearest here, which needs no random numbers.
    """

    name = "triplet_distillation"
    gathers = True
    same_shape = False
    needs_labels = True
    zero_at_teacher = False
    memory = "N^2"
    paper = "TripletDistillation (1905.04457), margins 0.2 to 0.5"

    def __init__(
        self,
        smallest: Annotated[float, Field(ge=0, description="a number >= 0, usually 0.2")] = 0.2,
        largest: Annotated[float, Field(description="a number, usually 0.5"), at_least("smallest")] = 0.5,
        within: Annotated[float, Field(description="a number, usually 0.35")] = 0.35,
        distance: Distance = "l2",
    ) -> None:
        super().__init__()
        self.smallest, self.largest, self.within = smallest, largest, within
        self.distances = angles_between if distance == "arccos" else unit_distances

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean hinge of the batch's triplets."""
        assert labels is not None, "needs_labels"
        ours, theirs = self.distances(student), self.distances(teacher)  # (B, B)
        same = labels.unsqueeze(0) == labels.unsqueeze(1)
        nearest = ours.detach().masked_fill(same, float("inf")).argmin(dim=1, keepdim=True)  # (B, 1)
        ours_n, theirs_n = ours.gather(1, nearest), theirs.gather(1, nearest)
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        chosen = same & ~itself & ~same.gather(1, nearest) & (ours_n - ours < self.within).detach()  # (B, B): [a, p]
        return self.hinge(ours, ours_n, theirs, theirs_n, chosen)

    def hinge(self, ours_p: Tensor, ours_n: Tensor, theirs_p: Tensor, theirs_n: Tensor, chosen: Tensor) -> Tensor:
        """Return the mean hinge over the chosen triplets.

        [D_S(a, p) - D_S(a, n) + F(d)]_+

        Shape:
            ours_p, ours_n: distances D_S(a, p) and D_S(a, n). theirs_p, theirs_n: the teacher's. chosen: boolean, which triplets count. All
            broadcast to one shape.
        """
        gaps = torch.where(chosen, (theirs_n - theirs_p).clamp_min(0), 0.0)
        margins = self.smallest + (self.largest - self.smallest) * gaps / gaps.max().clamp_min(EPS)
        return masked_mean((ours_p - ours_n + margins).clamp_min(0), chosen)


def unit_distances(rows: Tensor) -> Tensor:
    """Return the squared distances of the unit rows, (B, B)."""
    return squared_distances(unit(rows))


def angles_between(rows: Tensor) -> Tensor:
    """Return angles in radians, without gradient within 0.0014 of 0 and pi."""
    return cosines(rows).clamp(EPS - 1, 1 - EPS).arccos()
