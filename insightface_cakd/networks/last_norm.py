"""The last batch norm of a network, which scales its answer."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def free_last_norm(network: nn.Module, width: int) -> _BatchNorm | None:
    """Let the batch norm that scales a network's answer learn.

    Recognisers end with a batch norm, in some of them with a frozen weight of 1, which is no scale for another answer than an embedding.
    Returns it, None for a network whose last batch norm has no weights or another width.
    """
    last = [module for module in network.modules() if isinstance(module, _BatchNorm)][-1:]
    for norm in last:
        if norm.affine and norm.num_features == width:
            norm.weight.requires_grad_(True)
            norm.bias.requires_grad_(True)
            return norm
    return None
