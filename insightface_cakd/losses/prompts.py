"""Losses that keep a prompted teacher from forgetting what it knows."""

import torch
from torch import Tensor

from insightface_cakd.errors import ShapeError
from insightface_cakd.losses.base import DistillLoss, precise
from insightface_cakd.losses.classes import WHOLE_ROWS, ClassAxis
from insightface_cakd.losses.cosine import CosineLoss


class PromptAnchorLoss(CosineLoss):
    """Keep the prompted teacher's embedding in the direction of the plain one.

    mean_i (1 - cos(p_i, t_i))

    Shape:
        student: (B, D), p, the embedding with prompts; teacher: (B, D), t, the embedding of the same images without.
    Units:
        1 - cosine, in [0, 2].
    Edge cases:
        A zero row counts as cosine 0. B = 0 returns a differentiable 0. Nothing of it reaches the student.
    Source:
        Assumption: the known text of CAKD (2306.14662) names no anchor.
    """

    name = "prompt_anchor"
    reads = "prompted"
    paper = "CAKD (2306.14662), anchor of the prompts (assumption)"


class PromptMarginLoss(DistillLoss):
    """Keep the prompted teacher able to separate people.

    The margin loss of its embedding on its own, frozen class centres:

    mean_i (logsumexp_j z_ij - z_i,y(i)), z the logits with the host's margin and scale

    Shape:
        student: (N, n), z of the prompted embeddings on this rank's classes. teacher: (N, 1), int64, the column of each sample's class
        among them, -1 if another rank has it.
    Units:
        Nats, >= 0; about log(classes) + scale * margin for embeddings that know nothing.
    Raises:
        ShapeError: not one column for each sample.
    Edge cases:
        N = 0 returns a differentiable 0; extreme logits stay finite. Nothing of it reaches the student.
    Source:
        Assumption: the known text of CAKD (2306.14662) names no anchor.
    """

    name = "prompt_margin"
    reads = "prompted_logits"
    memory = "2NC/R"
    paper = "CAKD (2306.14662), anchor of the prompts (assumption)"

    def forward(
        self, student: Tensor, teacher: Tensor, labels: Tensor | None = None, classes: ClassAxis = WHOLE_ROWS
    ) -> Tensor:
        """Return the loss.

        Args:
            classes: reduces over the classes of all ranks.
        """
        if teacher.shape != (student.shape[0], 1):
            raise ShapeError(
                f"PromptMarginLoss: columns {tuple(teacher.shape)} for logits {tuple(student.shape)}; expected ({student.shape[0]}, 1). "
                "Give the column of each sample's class."
            )
        with torch.autocast(student.device.type, enabled=False):
            return self._cross_entropy(precise(student), teacher, classes)

    @staticmethod
    def _cross_entropy(logits: Tensor, columns: Tensor, classes: ClassAxis) -> Tensor:
        if logits.shape[0] == 0:
            return logits.sum() * 0
        shifted = logits - classes.max(logits)
        own = shifted.gather(1, columns.clamp_min(0)) * (columns >= 0)  # (N, 1), 0 where another rank has the class
        return (classes.sum(shifted.exp()).log() - classes.sum(own)).mean()
