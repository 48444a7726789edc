"""Feature maps and tokens, entry by entry."""

from typing import ClassVar

from torch import Tensor

from insightface_cakd.losses.base import DistillLoss


class FitNetLoss(DistillLoss):
    """Make the projected student's map or tokens equal the teacher's.

    mean over all entries of (s - t)^2

    Shape:
        student, teacher: (B, C, H, W) or (B, N, C), equal; a projector makes them so.
    Units:
        Squared activation of the teacher, >= 0; depends on the teacher's scale.
    Edge cases:
        B = 0 returns a differentiable 0.
    Source:
        Romero et al., FitNets, ICLR 2015; mean instead of sum as in the RKD authors' code.
    """

    name = "fitnet"
    reads: ClassVar[str] = "map"
    paper = "FitNets (1412.6550)"

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean squared difference."""
        return (student - teacher).square().mean()
