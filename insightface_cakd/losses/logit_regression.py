"""The teacher's logits as targets, on whole or sharded logits."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from insightface_cakd.losses.base import DistillLoss, precise
from insightface_cakd.losses.blocks import column_blocks
from insightface_cakd.losses.classes import WHOLE_ROWS, ClassAxis


class LogitRegressionLoss(DistillLoss):
    """Make the student's logits equal the teacher's.

    1 / (2 N) sum_i |a^S_i - a^T_i|^2, summed over the classes

    Only sums over classes travel between ranks. The gradient (a^S - a^T) / N, of a rank's own columns, is computed with the value.

    Shape:
        student, teacher: (N, n) logits of the same samples and classes, margin and scale inside.
    Units:
        Squared logits, >= 0. Grows with the square of the host's scale and with the number of classes: at scale 64, embeddings of width
        D that know nothing differ by 64 sqrt(2 / D) a class, 16 C / 2 in all at D = 512, beside a margin loss of about 40.
    Edge cases:
        N = 0 returns a differentiable 0. A sampled head compares the classes that it used.
    Source:
        Wang, Lan, Zhang 2017 (1709.02929): logits as targets; the formula is our reading, no weight and no code are known.
    """

    name = "logit_regression"
    reads = "logits"
    memory = "2NC/R"
    paper = "Knowledge transfer (1709.02929), logits as targets (assumption)"

    def forward(
        self, student: Tensor, teacher: Tensor, labels: Tensor | None = None, classes: ClassAxis = WHOLE_ROWS
    ) -> Tensor:
        """Return the half squared distance.

        Args:
            classes: reduces over the classes of all ranks.
        """
        self.check(student, teacher)
        with torch.autocast(student.device.type, enabled=False):
            ours, theirs = precise(student), precise(teacher.detach())
            if student.shape[0] == 0:
                return ours.sum() * 0
            return _HalfSquares.apply(ours, theirs, classes)


class _HalfSquares(torch.autograd.Function):
    """Value and gradient, a few columns at a time.

    What is kept for the gradient are the logits themselves.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, classes: ClassAxis) -> Tensor:
        ctx.save_for_backward(student, teacher)
        parts = [
            (student[:, block] - teacher[:, block]).square_().sum(dim=1, keepdim=True)
            for block in column_blocks(student)
        ]
        return classes.sum(torch.cat(parts, dim=1)).mean() / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        student, teacher = ctx.saved_tensors
        return (student - teacher).mul_(gradient / len(student)), None, None
