"""Directions of whole maps, and relations between two pictures' positions (F-SKD)."""

import torch
from torch import Tensor

from insightface_cakd.losses.attention import by_position
from insightface_cakd.losses.base import EPS, DistillLoss, masked_mean, unit
from insightface_cakd.losses.cosine import CosineLoss


class FeatureSimilarityLoss(CosineLoss):
    """Turn the student's whole map into the direction of the teacher's.

    mean_i (1 - cos(vec F^S_i, vec F^T_i))

    Shape:
        student, teacher: (B, C, H, W) or (B, N, C), equal; a projector makes them so.
    Units:
        1 - cosine, in [0, 2]. Unchanged when either side is scaled.
    Edge cases:
        A zero map counts as cosine 0. B = 0 returns a differentiable 0.
    Source:
        F-SKD, 2023: four stages through a 1x1 convolution each, 20 times the mean of the four; so weight 5 for each of four stages, or
        20 for one.
    """

    name = "fskd"
    reads = "map"
    paper = "F-SKD (2303.04681), features; weight 20 over the stages"

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return mean(1 - cos) of the flattened maps."""
        return super().compute(student.flatten(1), teacher.flatten(1), labels)


class FeatureRelationLoss(DistillLoss):
    """Relate two pictures' positions of one person as the teacher does.

    With H, Lo an image's maps of teacher and student, H', Lo' its partner's, R(A, A')_pq = sum_c A_cp A'_cq of maps of Frobenius norm 1,
    and d = 1 - cos of flattened R: mean over images with a partner of
    [d(R(H, H'), R(H, Lo')) + d(R(H, H'), R(Lo, H'))] / 2 + d(R(H, H'), R(Lo, Lo'))

    An image's partner is the other image of its identity in the batch whose teacher map is most similar.

    Shape:
        student, teacher: (B, C, H, W) or (B, N, C), equal; a projector makes them so. labels: (B,). Gathered: all ranks' maps are held on
        each, so only the last, small stage is meant. Memory grows with B positions^2.
    Units:
        1 - cosine, twice; in [0, 4]. Unchanged when either side is scaled.
    Raises:
        ShapeError: not one label for each row.
    Edge cases:
        No image has a partner, or B = 0: a differentiable 0. A zero map has cosine 0, and no gradient.
    Source:
        F-SKD, 2023: weight 4, on the last stage; H of the full and Lo of a low resolution. The paper looks partners up in a list
        made before training; those of the batch need no second picture in each step, but random batches have few.
    """

    name = "fskd_relation"
    reads = "map"
    gathers = True
    needs_labels = True
    memory = "NP^2"
    paper = "F-SKD (2303.04681), relations; weight 4, partners from the batch"

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean distance of the relations."""
        assert labels is not None, "needs_labels"
        low, high = (unit_maps(maps) for maps in (student, teacher))  # (B, P, C)
        partner, has_partner = partners(high.flatten(1), labels)
        low_partner, high_partner = low[partner], high[partner]
        goal = relation(high, high_partner)
        mixed = self._apart(goal, relation(high, low_partner)) + self._apart(goal, relation(low, high_partner))
        return masked_mean(mixed / 2 + self._apart(goal, relation(low, low_partner)), has_partner)

    @staticmethod
    def _apart(goal: Tensor, found: Tensor) -> Tensor:
        return 1 - (unit(goal) * unit(found)).sum(dim=1)


def unit_maps(maps: Tensor) -> Tensor:
    """Return maps as (B, P, C) of Frobenius norm 1; zeros stay."""
    positions = by_position(maps)
    lengths = torch.linalg.vector_norm(positions, dim=(1, 2), keepdim=True)
    # Divided by 1e-6 twice, here and in the cosine of relations, a zero map would have gradients of 1e12.
    return torch.where(lengths > EPS, positions / lengths.clamp_min(EPS), 0.0)


def relation(maps: Tensor, others: Tensor) -> Tensor:
    """Return inner products (B, P^2) of the positions of two maps."""
    return (maps @ others.transpose(1, 2)).flatten(1)


def partners(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's most similar other row of its identity.

    And whether there is one.

    Shape:
        rows: (B, D), unit. labels: (B,). Returns (B,), int64, any row where there is none, and (B,), boolean.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    possible = (labels.unsqueeze(0) == labels.unsqueeze(1)) & ~itself
    return (rows @ rows.T).masked_fill(~possible, float("-inf")).argmax(dim=1), possible.any(dim=1)
