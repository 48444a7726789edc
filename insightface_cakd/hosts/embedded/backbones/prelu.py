"""PReLU that trains fast on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn


class PReLU(nn.PReLU):
    """PReLU, without a branch for each value on a CPU.

    y = max(x, 0) + a min(x, 0). torch's own kernels branch on the sign of each value, which processors cannot foresee: backward takes 2 to
    5 times as long, some 30 % of a small student's step. Outputs and the gradient to x are the same to the bit; that to a is summed in
    another order.

    Shape:
        (B, C, H, W) or (B, C), C as many as the slopes; maps that are not channels-last, other devices and evaluation take torch's kernel.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the activations."""
        if not (self.training and _fast_here(input)):
            return super().forward(input)
        answer: Tensor = _PReLUOfRows.apply(input, self.weight)
        return answer


def _fast_here(maps: Tensor) -> bool:
    return (
        maps.device.type == "cpu"
        and maps.ndim == 4
        and torch.is_grad_enabled()
        and maps.is_contiguous(memory_format=torch.channels_last)
    )


class _PReLUOfRows(torch.autograd.Function):
    """The formula in sums and products, which torch vectorises."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(maps, slopes)
        if maps.dtype == torch.float32:
            return torch.prelu(maps, slopes)
        return maps.clamp_min(0).addcmul_(maps.clamp_max(0), _per_channel(slopes, maps))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        maps, slopes = ctx.saved_tensors
        (grad,) = grads
        negative = grad * maps.clamp_max(0)
        # As rows of channels: over the axes of an image torch sums ten times slower.
        rows = negative.permute(0, 2, 3, 1).flatten(0, 2)
        to_slopes = rows.sum(0, dtype=torch.promote_types(rows.dtype, torch.float32))
        kept = torch.ops.aten.threshold_backward(grad, maps, 0)
        return kept.addcmul(grad - kept, _per_channel(slopes, maps)), to_slopes.to(slopes.dtype)


def _per_channel(slopes: Tensor, maps: Tensor) -> Tensor:
    return slopes.to(maps.dtype).view(1, -1, 1, 1)
