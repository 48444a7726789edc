"""The memory layout in which a network computes fastest."""

import torch
from torch import nn


def in_fast_layout(network: nn.Module) -> nn.Module:
    """Put a convolutional network's weights into channels-last layout, in place.

    Its convolutions then compute and answer in that layout, whatever that of the images. Values, keys and shapes stay; results agree up
    to the rounding of float32. Other networks stay as they are. Measured: docs/hosts.md.

    Returns:
        The network.
    """
    return network.to(memory_format=torch.channels_last) if is_convolutional(network) else network


def is_convolutional(network: nn.Module) -> bool:
    """Return whether any convolution has overlapping windows, unlike patch embeddings."""
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return any(module.kernel_size[0] > module.stride[0] for module in convolutions)
