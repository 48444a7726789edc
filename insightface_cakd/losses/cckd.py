"""Similarities between the images of a batch, through a kernel (CCKD)."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from insightface_cakd.losses.base import DistillLoss
from insightface_cakd.losses.sp import cosines


class CorrelationCongruenceLoss(DistillLoss):
    """Make the student's kernel matrix equal the teacher's.

    mean over all entries of (K^S - K^T)^2, K_ij = sum_{p <= P} e^(-2 gamma) (2 gamma)^p / p! cos(f_i, f_j)^p: the Gaussian kernel of unit
    vectors, expanded to order P. (Order 0 is the same on both sides.)

    Shape:
        student, teacher: (B, D_s), (B, D_t); widths may differ. Gathered to the batch of all ranks.
    Units:
        Squared kernel value, in [0, 0.52] with the defaults. Unchanged when either side is scaled. With order 1 it is 0.129214 times
        the `cosine` form of SP, exactly.
    Args:
        gamma: width of the kernel, > 0.
        order: P, >= 1.
    Raises:
        RecipeError: an argument is out of range.
    Edge cases:
        B = 1 returns 0, and B = 0 a differentiable 0. A zero row has cosine 0 to all.
    Source:
        Peng et al., CCKD, ICCV 2019: gamma 0.4, order 2. EKD's released code has order 1 for the baseline of its tables, since its P = 2 is
        the bound of a loop.
    """

    name = "cckd"
    gathers = True
    same_shape = False
    memory = "N^2"
    paper = "CCKD (1904.01802), gamma 0.4, order 2"

    def __init__(
        self,
        gamma: Annotated[
            float,
            Field(
                gt=0,
                le=100,
                description="a positive number, at most 100, beyond which the kernel is 0; the paper uses 0.4",
            ),
        ] = 0.4,
        order: Annotated[
            int, Field(ge=1, le=64, description="a whole number, 1 to 64, beyond which terms vanish; the paper uses 2")
        ] = 2,
    ) -> None:
        super().__init__()
        self.factors = [math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) for p in range(1, order + 1)]

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean squared difference of the kernels."""
        return (self._kernel(student) - self._kernel(teacher)).square().mean()

    def _kernel(self, rows: Tensor) -> Tensor:
        similarity = cosines(rows)
        kernel = torch.zeros_like(similarity)
        for factor in reversed(self.factors):
            kernel = (kernel + factor) * similarity
        return kernel
