"""Softened class probabilities, on whole or sharded logits."""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from insightface_cakd.losses.base import DistillLoss, precise
from insightface_cakd.losses.blocks import column_blocks
from insightface_cakd.losses.classes import WHOLE_ROWS, ClassAxis


class SoftTargetLoss(DistillLoss):
    """Make the student's softened class probabilities equal the teacher's.

    T^2 / N sum_i KL(softmax(z^T_i / T) || softmax(z^S_i / T))

    Only maxima and sums over classes travel between ranks. The gradient of a rank's own columns, T (p^S - p^T) / N, has a closed form.

    Shape:
        student, teacher: (N, n) logits of the same samples and classes, margin and scale inside.
    Units:
        T^2 nats, >= 0; 0 when the probabilities agree.
    Args:
        temperature: T > 0.
    Raises:
        RecipeError: the temperature is not positive.
    Edge cases:
        N = 0 returns a differentiable 0; extreme logits stay finite.
    Source:
        Hinton et al. 2015; T = 4 as in the GKD and EKD authors' baselines.
    """

    name = "kd"
    reads = "logits"
    memory = "2NC/R"
    paper = "KD (1503.02531), T = 4"

    def __init__(
        self, temperature: Annotated[float, Field(gt=0, description="a positive number; the papers use 4")] = 4.0
    ) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self, student: Tensor, teacher: Tensor, labels: Tensor | None = None, classes: ClassAxis = WHOLE_ROWS
    ) -> Tensor:
        """Return the divergence.

        Args:
            classes: reduces over the classes of all ranks.
        """
        self.check(student, teacher)
        with torch.autocast(student.device.type, enabled=False):
            ours, theirs = precise(student), precise(teacher.detach())
            if student.shape[0] == 0:
                return ours.sum() * 0
            return _Divergence.apply(ours, theirs, self.temperature, classes)


class _Divergence(torch.autograd.Function):
    """Value and gradient, a few columns at a time.

    What is kept for the gradient are the logits themselves.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, temperature: float, classes: ClassAxis) -> Tensor:
        largest = classes.max(student), classes.max(teacher)
        parts = []
        for block in column_blocks(student):
            ours, theirs = _softened(student, teacher, largest, temperature, block)
            ratio = theirs - ours
            masses = ours.exp_(), theirs.exp_()
            ratio *= masses[1]
            parts.append(torch.stack([values.sum(dim=1) for values in (*masses, ratio)], dim=1))
        sums = torch.stack(parts).sum(0)
        sums = classes.sum(sums.view(-1, 1)).view_as(sums)  # sum e^S, sum e^T, sum e^T (log e^T - log e^S)
        ctx.save_for_backward(student, teacher, *largest, sums)
        ctx.temperature = temperature
        return temperature**2 * (sums[:, 2] / sums[:, 1] - sums[:, 1].log() + sums[:, 0].log()).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        student, teacher, *largest, sums = ctx.saved_tensors
        factors = gradient * ctx.temperature / len(student) / sums
        columns = torch.empty_like(student)
        for block in column_blocks(student):
            ours, theirs = _softened(student, teacher, largest, ctx.temperature, block)
            ours, theirs = ours.exp_().mul_(factors[:, :1]), theirs.exp_().mul_(factors[:, 1:2])
            torch.sub(ours, theirs, out=columns[:, block])
        return columns, None, None, None


def _softened(
    student: Tensor, teacher: Tensor, largest: Sequence[Tensor], temperature: float, block: slice
) -> tuple[Tensor, Tensor]:
    """Return softened logits of some columns, shifted to a largest of 0."""
    ours, theirs = (z[:, block].sub(top).div_(temperature) for z, top in zip((student, teacher), largest, strict=True))
    return ours, theirs
