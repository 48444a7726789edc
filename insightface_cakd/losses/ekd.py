"""Ranks of pairs at the thresholds where recognition is measured (EKD)."""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from insightface_cakd.losses.base import DistillLoss, masked_mean, unit
from insightface_cakd.losses.options import OldName
from insightface_cakd.losses.queue import FeatureQueue

THRESHOLDS = 6
CLAMP = 50.0


class Pairs(NamedTuple):
    """Cosines of pairs of images, of one identity or two.

    Shape:
        student, teacher, positive, negative: (P,); the last two boolean. A pair may be neither: then it does not count.
    """

    student: Tensor
    teacher: Tensor
    positive: Tensor
    negative: Tensor


class EvaluationRankLoss(DistillLoss):
    """Put pairs on the teacher's side of the thresholds of measurement.

    The thresholds are those at which false positive rates are 10^-1 to 10^-6.

    positive mean_{one identity} (R^S - R^T)^2 + negative mean_{two identities} (R^S - R^T)^2, R(c) = sum_k sigmoid((c - theta_k) / tau);
    the second mean is over the `hardest` pairs of highest student cosine. theta_k, of each side, is a moving average of the cosine
    above which 10^-k of the batch's negative pairs lie: theta <- momentum theta + (1 - momentum) theta_batch, from 0, before use.

    Shape:
        student, teacher: (B, D_s), (B, D_t); widths may differ. labels: (B,). Gathered: all unordered pairs of all ranks' images, and with
        a queue each image with every queued one. Memory grows with 6 B (B / 2 + queue).
    Units:
        Squared difference of ranks in [0, 6], times 0.02 or 0.01; in [0, 1.08]. Unchanged when either side is scaled. The gradient is 0
        for pairs further than 0.5 from all thresholds, and negligible further than 0.1.
    Args:
        temperature: tau, the softness of the ranks, > 0.
        hardest: how many negative pairs count, >= 1.
        momentum: of the thresholds, in [0, 1).
        positive: factor of the pairs of one identity, >= 0.
        negative: factor of the pairs of two, >= 0.
        queue: number of earlier images that are paired with the batch, 0 for none. Their student features are those of the step in
            which they were seen, and get no gradient.
    Raises:
        RecipeError: an argument is out of range.
        ShapeError: not one label for each row.
    Edge cases:
        No pair of one kind: that part is 0. No negative pair: the thresholds stay. B = 0 returns a differentiable 0. Few pairs: the
        smallest rates fall on the largest cosine (64 images give 4 different thresholds, 512 give 6), so one small GPU needs a
        queue of 512 rows or more. Thresholds start at 0 and are at 63 % after 100 steps.
    Source:
        EKD, CVPR 2022: tau 0.01, 2000 hardest, momentum 0.99, 0.02 and 0.01, half of each batch with 4 images an identity; no queue.
        Its released gather multiplies the gradient by the number of GPUs, so its runs on 8 have weights of 8 times these.
    """

    name = "ekd"
    gathers = True
    same_shape = False
    needs_labels = True
    keeps_state = True
    memory = "N(N+queue)"
    paper = "EKD (2206.02325), tau 0.01, 0.02 and 0.01"
    thresholds: Tensor

    def __init__(
        self,
        temperature: Annotated[
            float, Field(gt=0, description="a positive number; the paper uses 0.01"), OldName("tau")
        ] = 0.01,
        hardest: Annotated[int, Field(ge=1, description="a number of pairs; the paper uses 2000")] = 2000,
        momentum: Annotated[float, Field(ge=0, lt=1, description="a number in [0, 1); the paper uses 0.99")] = 0.99,
        positive: Annotated[float, Field(ge=0, description="a number >= 0; the paper uses 0.02")] = 0.02,
        negative: Annotated[float, Field(ge=0, description="a number >= 0; the paper uses 0.01")] = 0.01,
        queue: Annotated[
            int,
            Field(
                ge=0, le=2**26, description=f"a number of rows, at most {2**26}, where they fill 128 GiB; 0 for none"
            ),
        ] = 0,
    ) -> None:
        super().__init__()
        self.temperature, self.hardest, self.momentum = temperature, hardest, momentum
        self.positive, self.negative = positive, negative
        self.queue = FeatureQueue(queue) if queue else None
        self.register_buffer("thresholds", torch.zeros(2, THRESHOLDS))  # student's, teacher's; rates falling

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the weighted mean squared differences of ranks."""
        assert labels is not None, "needs_labels"
        pairs = self.pairs(unit(student), unit(teacher), labels)
        if len(pairs.student) == 0:
            return student.sum() * 0
        self.thresholds = self.thresholds.to(student)
        if self.training:
            self._move_thresholds(pairs)
        ours, theirs = (self._ranks(cosines, side) for side, cosines in enumerate(pairs[:2]))
        differences = (ours - theirs).square()
        hard = hardest_first(pairs.student, pairs.negative, self.hardest).indices
        return self.positive * masked_mean(differences, pairs.positive) + self.negative * masked_mean(
            differences[hard], pairs.negative[hard]
        )

    def pairs(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Pairs:
        """Return pairs of unit rows in batch and queue; queue the batch.

        Shape:
            student, teacher: (B, D), of length 1. labels: (B,).
        """
        first, second = torch.triu_indices(len(labels), len(labels), offset=1, device=labels.device)
        same = labels[first] == labels[second]
        ours, theirs = ((rows @ rows.T)[first, second] for rows in (student, teacher))
        if self.queue is None:
            return Pairs(ours, theirs, same, ~same)
        both = torch.cat([student, teacher], dim=1).detach()
        earlier = self.queue.fit(both).rows.to(student.dtype).split([student.shape[1], teacher.shape[1]], dim=1)
        there = self.queue.filled().expand(len(labels), -1)
        alike = labels.unsqueeze(1) == self.queue.labels
        ours = torch.cat([ours, (student @ earlier[0].T).flatten()])
        theirs = torch.cat([theirs, (teacher @ earlier[1].T).flatten()])
        if self.training:
            self.queue.push(both, labels)
        return Pairs(
            ours,
            theirs,
            torch.cat([same, (alike & there).flatten()]),
            torch.cat([~same, (~alike & there).flatten()]),
        )

    @torch.no_grad()
    def _move_thresholds(self, pairs: Pairs) -> None:
        count = pairs.negative.sum()
        rates = 10 ** torch.arange(1, THRESHOLDS + 1, device=count.device)
        most = len(pairs.negative) // 10 + 1
        found = [hardest_first(cosines, pairs.negative, most).values[count // rates] for cosines in pairs[:2]]
        moved = self.momentum * self.thresholds + (1 - self.momentum) * torch.stack(found)
        self.thresholds = torch.where(count > 0, moved, self.thresholds)

    def _ranks(self, cosines: Tensor, side: int) -> Tensor:
        steps = (cosines.unsqueeze(1) - self.thresholds[side]) / self.temperature  # (P, 6)
        return steps.clamp(-CLAMP, CLAMP).sigmoid().sum(dim=1)


def hardest_first(cosines: Tensor, chosen: Tensor, most: int) -> torch.return_types.topk:
    """Return the `most` largest chosen cosines and their places, -inf after them."""
    return cosines.detach().masked_fill(~chosen, float("-inf")).topk(min(most, len(cosines)))
