"""Gradient norms of margin loss and terms at the embedding, per step."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class EmbeddingGradients:
    """Squared gradient norms at the embedding in one step.

    Args:
        margin: of the margin loss, a scalar; None before the backward.
        distillation: of the distillation terms, a scalar; None before the backward.
    """

    margin: Tensor | None = None
    distillation: Tensor | None = None
