"""Relations between the images of a batch: distances and angles (RKD)."""

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from insightface_cakd.losses.base import EPS, DistillLoss


class RelationDistanceLoss(DistillLoss):
    """Make the student's relative pairwise distances equal the teacher's.

    Distances are in units of their mean:

    mean over all B^2 ordered pairs of huber(|s_i - s_j| / mu_S - |t_i - t_j| / mu_T), mu the mean of the positive distances.

    Shape:
        student: (B, D_s), teacher: (B, D_t); widths may differ. Gathered to the batch of all ranks; memory grows with B^2.
    Units:
        Smooth L1 (beta 1) of relative distances, >= 0. Unchanged when either side is scaled.
    Edge cases:
        Equal rows have distance 0 and no gradient; fewer than two different rows on a side: its distances are all 0.
    Source:
        Park et al., RKD, CVPR 2019; raw embeddings and zeros included as in the authors' code. Weight 25.
    """

    name = "rkd_distance"
    gathers = True
    same_shape = False
    memory = "N^2"
    paper = "RKD (1904.05068), distance; weight 25"

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the smooth L1 of the two distance matrices."""
        return smooth_l1_loss(relative_distances(student), relative_distances(teacher))


class RelationAngleLoss(DistillLoss):
    """Make the angles between the student's differences equal the teacher's.

    mean over all B^3 ordered triples of huber(<e^S_ij, e^S_ik> - <e^T_ij, e^T_ik>), e_ij = (f_j - f_i) / |f_j - f_i|.

    Shape:
        student: (B, D_s), teacher: (B, D_t); widths may differ. Gathered; memory grows with B^3.
    Units:
        Smooth L1 (beta 1) of cosines, in [0, 1.5]. Unchanged when either side is scaled or rotated.
    Edge cases:
        A difference shorter than 1e-6 of the mean distance has no direction: e = 0, without gradient. (Dividing by its length instead
        gives gradients of 1e11 on two equal rows.)
    Source:
        Park et al., RKD, CVPR 2019. Weight 50.
    """

    name = "rkd_angle"
    gathers = True
    same_shape = False
    memory = "N^3"
    paper = "RKD (1904.05068), angle; weight 50"

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the smooth L1 of the two angle tensors."""
        return smooth_l1_loss(angles(student), angles(teacher))


def distances(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return distances (B, B), and which of them have a gradient.

    Those that are not positive enough have none.

    "Enough" is 1e-6 of the rows' largest norm: below that a difference is rounding. Each difference is taken before it is squared: through
    products of rows the distances of nearly equal rows would be rounding up to 1e-3 of the norm.

    Shape:
        rows: (B, D).
    """
    lengths = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    scale = torch.linalg.vector_norm(rows.detach(), dim=-1).max()
    apart = lengths.detach() > (EPS * scale).clamp_min(torch.finfo(rows.dtype).tiny)
    return torch.where(apart, lengths, 0.0), apart


def relative_distances(rows: Tensor) -> Tensor:
    """Return the distances (B, B) over the mean of the positive ones."""
    lengths, apart = distances(rows)
    count = apart.sum()
    mean = lengths.sum() / count.clamp_min(1)
    return lengths / torch.where(count > 0, mean, 1.0)


def angles(rows: Tensor) -> Tensor:
    """Return cosines (B, B, B): [i, j, k] = <e_ij, e_ik>."""
    differences = rows.unsqueeze(0) - rows.unsqueeze(1)  # (B, B, D): [i, j] = f_j - f_i
    lengths, apart = distances(rows)
    directions = differences / torch.where(apart, lengths, 1.0).unsqueeze(-1) * apart.unsqueeze(-1)
    return directions @ directions.transpose(1, 2)
