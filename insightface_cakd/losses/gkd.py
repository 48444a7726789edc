"""Grouped knowledge distillation (GKD), on whole or sharded logits."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from insightface_cakd.losses.base import DistillLoss, precise
from insightface_cakd.losses.classes import WHOLE_ROWS, ClassAxis
from insightface_cakd.losses.grouped_divergence import GroupWeights, grouped_divergence
from insightface_cakd.losses.groups import Group, largest, probable, shared
from insightface_cakd.losses.options import OldName, one_above_0, only_with

Grouping = Literal["adaptive", "fixed", "per_sample"]
SHARE, SIZE, STEP = 0.93, 10_000, 100
Weight = Annotated[float, Field(ge=0, description="a number >= 0; the paper has 8, 1 and 0")]


class GroupedLoss(DistillLoss):
    """Match the teacher's probabilities inside a primary group, and its mass.

    T^2 / N sum_i [ binary KL(b^T || b^S) + primary KL(p^T_P || p^S_P) + secondary KL(p^T_R || p^S_R) ], with b the masses of the group P
    and of the rest R under softmax(z / T), and p_G the softmax of z / T over the classes of G alone. P is chosen by the student's logits
    and always has the sample's own class. With weights b^T_P, 1, b^T_R in place of primary, binary, secondary it would be plain KD.

    Shape:
        student, teacher: (N, n) logits of the same samples and classes, margin and scale inside. labels: (N, 1) or (N,), int64, the column
        of each sample's class among the n, -1 if another rank has it.
    Units:
        T^2 nats, >= 0; 0 when the probabilities agree.
    Args:
        grouping: what P is, own class included. "per_sample": the fewest most probable classes that have `share` of a sample's softened
            probability. "fixed": the `size` most probable. "adaptive": as many for each sample as the probabilities (T = 1), summed over
            the batch, ask for to have `share` of all, the first of 1, 1 + step, 1 + 2 step, ..., or all classes but one if none of those
            below their number does; the batch is the gathered one, of all ranks.
        share: tau, of the probability, in (0, 1]; 0.93 if not given.
        size: classes of a fixed group, 10000 if not given; all classes where there are fewer.
        step: of the adaptive number, 100 if not given.
        primary, binary, secondary: weights; what has weight 0 is not computed.
        temperature: T > 0.
    Attributes:
        mean_size: classes in a primary group of the last batch, on average.
    Raises:
        RecipeError: an option that cannot be meant, or that the grouping does not read.
        ShapeError: not one column for each row.
    Edge cases:
        Equal logits at the edge of a group: lower classes first, on any number of ranks. A group of all classes has mass 1 on both sides.
        A sum that misses the share by less than a millionth reaches it. "adaptive" takes logits for equal that agree in sign, exponent and
        15 bits of the mantissa, and sums over the batch, where they reach the share, within 2^-11. N = 0 returns a differentiable 0;
        extreme logits stay finite.
    Source:
        Zhao et al., AAAI 2023 (2304.04462): groups per sample by cumulative probability; fixed and adaptive as in the authors' files,
        of which the fixed one has primary = 8, as the paper, and the adaptive one 4.
    """

    name = "gkd"
    reads = "logits"
    needs_labels = True
    shows = ("mean_size",)
    memory = "2NC/R"
    paper = "GKD (2304.04462), tau = 0.93, weights 8, 1, 0, T = 4"

    def __init__(
        self,
        grouping: Grouping = "per_sample",
        share: Annotated[
            float | None,
            Field(gt=0, le=1, description="a share in (0, 1]; the paper has 0.93"),
            only_with("grouping", "per_sample", "adaptive"),
            OldName("tau"),
        ] = None,
        size: Annotated[
            int | None,
            Field(ge=1, description=f"a positive whole number; the authors have {SIZE}"),
            only_with("grouping", "fixed"),
        ] = None,
        step: Annotated[
            int | None,
            Field(ge=1, description=f"a positive whole number; the authors have {STEP}"),
            only_with("grouping", "adaptive"),
        ] = None,
        primary: Weight = 8.0,
        binary: Weight = 1.0,
        secondary: Annotated[Weight, one_above_0("primary", "binary")] = 0.0,
        temperature: Annotated[float, Field(gt=0, description="a positive number; the paper has 4")] = 4.0,
    ) -> None:
        super().__init__()
        self.grouping = grouping
        self.share = SHARE if share is None else share
        self.size = SIZE if size is None else size
        self.step = STEP if step is None else step
        self.weights = GroupWeights(primary, binary, secondary)
        self.temperature = temperature
        self.mean_size: Tensor | None = None

    def forward(
        self, student: Tensor, teacher: Tensor, labels: Tensor | None = None, classes: ClassAxis = WHOLE_ROWS
    ) -> Tensor:
        """Return the loss.

        Args:
            classes: reduces over the classes of all ranks.
        """
        self.check(student, teacher)
        columns = labels.flatten() if labels is not None and labels.shape[1:] == (1,) else labels
        self._check_labels(student, columns)
        with torch.autocast(student.device.type, enabled=False):
            student, teacher = precise(student), precise(teacher.detach())
            if columns is None or len(student) == 0:
                self.mean_size = student.new_zeros(())
                return student.sum() * 0
            group = self.primary_group(student, columns.view(-1, 1), classes)
            value, self.mean_size = grouped_divergence(student, teacher, group, self.weights, self.temperature, classes)
            return value

    @torch.no_grad()
    def primary_group(self, student: Tensor, columns: Tensor, classes: ClassAxis) -> Group:
        """Return each sample's primary group.

        Shape:
            student: (N, n), of this rank's classes. columns: (N, 1).

        Args:
            classes: how the columns lie on the ranks.
        """
        if self.grouping == "per_sample":
            return probable(student, columns, self.share, self.temperature, classes)
        if self.grouping == "adaptive":
            return shared(student, columns, self.share, self.step, classes)
        return largest(student, columns, self.size, classes)
