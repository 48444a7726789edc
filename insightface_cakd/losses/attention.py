"""Where a map is active, and in which channels (AT, A-SKD)."""

import math

from torch import Tensor
from torch.nn.functional import interpolate

from insightface_cakd.errors import ShapeError
from insightface_cakd.losses.base import DistillLoss, unit


class AttentionTransferLoss(DistillLoss):
    """Let the student be active where the teacher is.

    mean over images and positions of (a^S - a^T)^2, a = e / |e| per image, e_p = sum_c F_cp^2

    Shape:
        student, teacher: (B, C, H, W), or (B, N, C) tokens of a square grid, row by row. Channels may differ, and so may
        grids: the student's e is then averaged over the cells of the teacher's, and repeated where the teacher's are finer.
    Units:
        Squared entry of a unit vector; in [0, 2 / positions]. Unchanged when either side is scaled.
    Raises:
        ShapeError: the grid of a side cannot be inferred.
    Edge cases:
        A zero map has a = 0, without gradient. B = 0 returns a differentiable 0.
    Source:
        Zagoruyko and Komodakis, AT, ICLR 2017: the released code takes the mean, with beta / 2 = 500 on each stage; summed over positions,
        as the equation has it, the loss is `positions` times larger. Both sides have one grid there; that e, the squares, is averaged and
        not the map is ours, since averaged maps of both signs would cancel.
    """

    name = "at"
    reads = "map"
    same_shape = False
    paper = "AT (1612.03928), mean; weight 500 a stage"

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean squared difference of the attention maps."""
        ours, theirs = (by_position(maps).square().sum(dim=2) for maps in (student, teacher))  # (B, P)
        if ours.shape != theirs.shape:
            ours = self._resampled(ours, grid(student), grid(teacher))
        return (unit(ours) - unit(theirs)).square().mean()

    @staticmethod
    def _resampled(energy: Tensor, own: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
        return interpolate(energy.unflatten(1, own).unsqueeze(1), wanted, mode="area").flatten(1)


class AttentionSimilarityLoss(DistillLoss):
    """Let the student attend to the teacher's channels and positions.

    mean_i [(1 - cos(A^c_S, A^c_T)) + (1 - cos(A^s_S, A^s_T))], A^c = mean + maximum over positions, A^s = mean + maximum over channels

    A-SKD takes both maps from CBAM modules in every block of both networks, before their sigmoid. These are the statistics that CBAM
    starts from, without its trained layers, so that no network needs changing. Where CBAM is in both, tap it and use `fskd`, which
    is the same distance.

    Shape:
        student, teacher: (B, C, H, W) or (B, N, C) tokens, equal; a projector makes them so.
    Units:
        1 - cosine, twice; in [0, 4]. Unchanged when either side is scaled.
    Edge cases:
        A zero map has cosine 0. B = 0 returns a differentiable 0.
    Source:
        Shin et al., A-SKD, ECCV 2022: weight 5 on each block, summed over blocks. Statistics instead of CBAM's own maps are ours.
    """

    name = "askd"
    reads = "map"
    paper = "A-SKD (ECCV 2022), without CBAM; weight 5 a block"

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the two mean cosine distances, summed."""
        ours, theirs = by_position(student), by_position(teacher)  # (B, P, C)
        cosines = [(unit(_peaks(ours, axis)) * unit(_peaks(theirs, axis))).sum(dim=1) for axis in (1, 2)]
        return (2 - cosines[0] - cosines[1]).mean()


def _peaks(maps: Tensor, axis: int) -> Tensor:
    return maps.mean(dim=axis) + maps.amax(dim=axis)


def by_position(maps: Tensor) -> Tensor:
    """Return maps as (B, H W, C); tokens (B, N, C) stay."""
    if maps.dim() == 4:
        return maps.flatten(2).transpose(1, 2)
    if maps.dim() == 3:
        return maps
    raise ShapeError(
        f"map {tuple(maps.shape)}: {maps.dim()} axes; expected (B, C, H, W) or tokens (B, N, C). Tap a layer before the pooling."
    )


def grid(maps: Tensor) -> tuple[int, int]:
    """Return height and width of maps, or of square tokens."""
    if maps.dim() == 4:
        return maps.shape[2], maps.shape[3]
    side = math.isqrt(maps.shape[1])
    if side * side != maps.shape[1]:
        raise ShapeError(
            f"tokens {tuple(maps.shape)}: {maps.shape[1]} are no square grid, and the other side has another number; expected one "
            "token a position. Tap a layer without class token, or one of the same grid."
        )
    return side, side
