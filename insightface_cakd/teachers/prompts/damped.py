"""Scales a gradient in the backward pass."""

from typing import Any

import torch
from torch import Tensor


class _Damped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def damped(tensor: Tensor, factor: float) -> Tensor:
    """Return the same tensor, whose gradient is multiplied by a factor."""
    return tensor if factor == 1 else _Damped.apply(tensor, factor)
