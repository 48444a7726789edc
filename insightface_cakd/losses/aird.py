"""Contrast of the differences between pairs of images (AIRD-style)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from insightface_cakd.losses.base import EPS, DistillLoss, masked_mean, unit

# In place of the logit of a pair that is left out: its exponential is 0, its gradient finite.
LEFT_OUT = -1e4


class PairContrastLoss(DistillLoss):
    """Recognise each pair of images by the direction of its difference.

    v_ij = unit(unit(f_i) - unit(f_j)) for the pairs i < j of the batch, called a and b:

    -mean_a log( exp(v^S_a . v^T_a / T) / sum_b exp(v^S_a . v^T_b / T) )

    Shape:
        student, teacher: (B, D), one width. Gathered to the batch of all ranks; memory grows with the square of the number of pairs.
    Units:
        Nats, >= 0. The minimum is not 0, since pairs that share an image resemble each other. Unchanged when either side is scaled.
    Args:
        temperature: T, > 0.
        pairs: largest number of pairs. A batch with more of them (B = 65 has 2,080) takes this many in a fixed pattern in which each
            image appears equally often; the shuffled order of the batch is the draw, and both sides take the same ones.
    Raises:
        RecipeError: an argument is out of range.
    Edge cases:
        A pair of equal images, on either side, has no direction and is left out. No pair: a differentiable 0.
    Source:
        Relation term of AIRD (2409.02049), whose equations are not public: this form follows the same group's cross-resolution
        relational contrastive distillation (2409.02555). Temperature and number of pairs are assumptions.
    """

    name = "pair_contrast"
    gathers = True
    zero_at_teacher = False
    memory = "N^2"
    paper = "AIRD (2409.02049)-style relation, inferred"

    def __init__(
        self,
        temperature: Annotated[float, Field(gt=0, description="a positive number, for example 0.1")] = 0.1,
        pairs: Annotated[int, Field(ge=1, description="a whole number >= 1, for example 2048")] = 2048,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.pairs = pairs

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean cross-entropy of the pairs."""
        first, second = _chosen_pairs(len(student), self.pairs, student.device)
        ours, seen = _directions(student, first, second)
        theirs, known = _directions(teacher, first, second)
        kept = seen & known
        logits = (ours @ theirs.T / self.temperature).masked_fill(~kept, LEFT_OUT)
        return masked_mean(logits.logsumexp(dim=1) - logits.diagonal(), kept)


def _chosen_pairs(count: int, most: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the indices i < j of at most `most` different pairs.

    Pair number k is image k mod B with the one k // B + 1 places after it, around the end: the first B (B - 1) / 2 numbers are all pairs.
    """
    number = torch.arange(min(count * (count - 1) // 2, most), device=device)
    one = number % count
    other = (one + number // count + 1) % count
    return torch.minimum(one, other), torch.maximum(one, other)


def _directions(rows: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the unit differences of pairs (M, D), and which of them have a direction (M,)."""
    directions = unit(rows)
    differences = directions[first] - directions[second]
    apart = torch.linalg.vector_norm(differences.detach(), dim=-1) > EPS
    return unit(differences), apart
