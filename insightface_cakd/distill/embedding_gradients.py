"""How strongly margin loss and terms pull at the embedding in one step."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class EmbeddingGradients:
    """Squared norms of what the margin and the distillation send back to the embedding in one step; None before the backward."""

    margin: Tensor | None = None
    distillation: Tensor | None = None
