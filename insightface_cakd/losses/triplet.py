"""Triplets whose margin the teacher sets (TripletDistillation)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from insightface_cakd.losses.base import EPS, DistillLoss, masked_mean, squared_distances, unit
from insightface_cakd.losses.options import at_least
from insightface_cakd.losses.sp import cosines

Distance = Literal["l2", "arccos"]
Mining = Literal["nearest", "semi_hard"]


class TripletDistillationLoss(DistillLoss):
    """Keep other people further away, by a margin that the teacher sets.

    The margin grows with how far apart the teacher sees them.

    mean over triplets (a, p, n) of [D_S(a, p) - D_S(a, n) + F(d)]_+, d = [D_T(a, n) - D_T(a, p)]_+,
    F(d) = smallest + (largest - smallest) d / max d

    Triplets are found in the batch, where D_S(a, n) - D_S(a, p) < within; D is the squared distance of unit embeddings, or their angle.
    `nearest`: each ordered pair (a, p) of one identity with the other person n who is nearest to a for the student, nearer than p or not.
    `semi_hard`: each pair once, a before p in the batch, with the nearest other person who is farther from a than p.

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
        mining: "nearest" or "semi_hard".
    Raises:
        RecipeError: an argument is out of range.
        ShapeError: not one label for each row.
    Edge cases:
        No two images of one identity, no other identity, or B = 0: a differentiable 0. A batch of random images has few such
        pairs; a sampler of several images an identity gives more.
    Source:
        Feng et al., TripletDistillation, ICIP 2020: margins 0.2 to 0.5; how it mines is not stated. MarginDistillation's released
        re-implementation is semi-hard, of each pair one direction, and draws n at random among those within 0.35. Here it is the nearest
        of them: all ranks choose alike, and a resumed run does. `nearest` is ours: it also pulls at triplets that are the wrong way round.
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
        mining: Mining = "nearest",
    ) -> None:
        super().__init__()
        self.smallest, self.largest, self.within = smallest, largest, within
        self.others = farther_than_the_positive if mining == "semi_hard" else nearest_of_all
        self.distances = angles_between if distance == "arccos" else unit_distances

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean hinge of the batch's triplets."""
        assert labels is not None, "needs_labels"
        ours, theirs = self.distances(student), self.distances(teacher)  # (B, B)
        same = labels.unsqueeze(0) == labels.unsqueeze(1)
        other, pairs = self.others(ours.detach(), same)  # (B, 1 or B), (B, B): [a, p]
        ours_n, theirs_n = ours.gather(1, other), theirs.gather(1, other)
        chosen = same & pairs & ~same.gather(1, other) & (ours_n - ours < self.within).detach()
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


def nearest_of_all(distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest other person of each image, for every ordered pair.

    Shape:
        distances, same: (B, B). Returns indices (B, 1) and the pairs (a, p) that count, boolean (B, B). Where all show one person, the
        index is one of them.
    """
    itself = torch.eye(len(same), dtype=torch.bool, device=same.device)
    return distances.masked_fill(same, float("inf")).argmin(dim=1, keepdim=True), ~itself


def farther_than_the_positive(distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest other person beyond each positive, each pair once.

    Shape:
        distances, same: (B, B). Returns indices (B, B) and the pairs (a, p) that count, a < p, boolean (B, B). Where nobody is farther, no
        index means anything, and the pair does not count.
    """
    ordered, order = distances.masked_fill(same, float("inf")).sort(dim=1)
    place = torch.searchsorted(ordered, distances, right=True).clamp_max(len(same) - 1)
    found = ordered.gather(1, place) > distances
    return order.gather(1, place), found.triu(diagonal=1)


def unit_distances(rows: Tensor) -> Tensor:
    """Return the squared distances of the unit rows, (B, B)."""
    return squared_distances(unit(rows))


def angles_between(rows: Tensor) -> Tensor:
    """Return angles in radians, without gradient within 0.0014 of 0 and pi."""
    return cosines(rows).clamp(EPS - 1, 1 - EPS).arccos()
