"""The teacher's embedding of an image against a queue of others (QUD)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from insightface_cakd.losses.base import DistillLoss, unit
from insightface_cakd.losses.options import OldName
from insightface_cakd.losses.queue import FeatureQueue


class QueueContrastLoss(DistillLoss):
    """Make the teacher's embedding of the same image the likeliest.

    The others are those of the images before.

    -1/B sum_i log(e^(s_i . t_i / tau) / (e^(s_i . t_i / tau) + sum_k e^(s_i . q_k / tau))), all unit vectors, q the queue as it was
    before this batch is pushed

    Shape:
        student, teacher: (B, D). Gathered, so that every rank keeps one equal queue of the teacher's rows of all ranks.
    Units:
        Nats, >= 0; above 0 for a student that equals the teacher. Unchanged when either side is scaled. Its pull on the cosine is at most
        1 / tau.
    Args:
        temperature: tau, > 0.
        queue: number of teacher rows that are remembered, >= 1.
    Raises:
        RecipeError: an argument is out of range.
    Edge cases:
        The queue starts with random unit rows. An image of the same person in it counts as another's: with few identities that hurts. A
        zero row has cosine 0 to all. B = 0 returns a differentiable 0.
    Source:
        QUD, BMVC 2024: tau 0.1, queue 1024, and no other loss beside it; its released script has tau 0.07 by default and needs a queue
        that is a multiple of the batch. Written from the equation.
    """

    name = "qud"
    gathers = True
    zero_at_teacher = False
    keeps_state = True
    memory = "queue(N+D)"
    paper = "QUD (BMVC 2024), tau 0.1, queue 1024"

    def __init__(
        self,
        temperature: Annotated[
            float, Field(gt=0, description="a positive number; the paper uses 0.1"), OldName("tau")
        ] = 0.1,
        queue: Annotated[
            int,
            Field(
                ge=1,
                le=2**26,
                description=f"a number of rows, 1 to {2**26}, where they fill 128 GiB; the paper uses 1024",
            ),
        ] = 1024,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.queue = FeatureQueue(queue, start="random")

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the cross-entropy of the own teacher row among the queue's."""
        student, teacher = unit(student), unit(teacher)
        others = self.queue.fit(teacher).rows.to(student.dtype)  # (n, D)
        own = (student * teacher).sum(dim=1, keepdim=True)  # (B, 1)
        logits = torch.cat([own, student @ others.T], dim=1) / self.temperature
        if self.training:
            self.queue.push(teacher)
        return (logits.logsumexp(dim=1) - logits[:, 0]).mean()
