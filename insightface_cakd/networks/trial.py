"""Images to try a network out on, before it sees a face."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

SEED, PATCHES = 0, 8


def trial_images(count: int, side: int, device: torch.device) -> Tensor:
    """Return different, smooth, coloured images, the same in every process.

    Blank ones would not do: a network that scales its answer to length 1 divides by zero where a blank image gives zeros.

    Shape:
        Returns (count, 3, side, side), in [-1, 1].
    """
    generator = torch.Generator().manual_seed(SEED)
    patches = torch.rand(count, 3, PATCHES, PATCHES, generator=generator) * 2 - 1
    return interpolate(patches, size=(side, side), mode="bilinear").to(device)
