"""What of a backbone computes in half precision: body, never tail."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def body_precision(images: Tensor, fp16: bool) -> AbstractContextManager:
    """Return the context for everything before a backbone's last layers.

    Half precision is used on CUDA only, where the host scales the loss; elsewhere `fp16` changes nothing. An autocast
    that the caller opened stays in force.
    """
    return torch.autocast("cuda", torch.float16) if fp16 and images.is_cuda else nullcontext()


def tail_precision(activations: Tensor) -> AbstractContextManager:
    """Return the context for the layers that make the embedding.

    These layers ignore any autocast around them: faces are compared by the embedding's direction, of which half
    precision keeps 11 bits. No context at all is opened where none is needed, so exporters see plain layers.
    """
    device = activations.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def in_dtype_of(layer: nn.Module, activations: Tensor) -> Tensor:
    """Return activations in the precision of a layer's weights, the embedding's too."""
    return activations.to(next(layer.parameters()).dtype)
