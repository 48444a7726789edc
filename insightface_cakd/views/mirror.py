"""The view of mirror images."""

import torch
from torch import Tensor


class Mirror:
    """Exchange left and right."""

    moves_pixels = True

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mirror images."""
        return images.flip(-1)
