"""Rows and classes of all ranks, with gradients equal to one process on the joined batch."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from insightface_cakd.ranks import rank, world_size


class _Gather(torch.autograd.Function):
    """Concatenate over ranks; backward sums over ranks and keeps the own slice.

    Every rank computes the same loss from the gathered rows, and DDP averages parameter gradients over ranks: summing without the factor
    W of PartialFC's gather gives exactly the gradient of one process.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return gather_constant(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]


def gather(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, in rank order, differentiably; without a process group, the rows themselves.

    Shape:
        rows: (B, ...), equal on every rank. Returns (R * B, ...).
    """
    return _Gather.apply(rows) if world_size() > 1 else rows


@torch.no_grad()
def gather_constant(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, in rank order, without gradient."""
    if world_size() == 1:
        return rows.detach()
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


class _SumOverRanks(torch.autograd.Function):
    """All-reduce whose backward is the identity: each rank's share of a sum that all ranks use alike."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class ShardedClasses:
    """Reductions over the classes of all ranks, for logits of which each rank holds some columns.

    The gradient that comes out is this rank's columns' share; behind PartialFC's own gather (sum, times W) that is what the head needs.
    """

    def max(self, logits: Tensor) -> Tensor:
        """Return the largest logit of each row over all ranks, (N, 1), without gradient."""
        largest = logits.detach().amax(dim=1, keepdim=True)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return largest

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of each row over all ranks, (N, 1)."""
        return _SumOverRanks.apply(values.sum(dim=1, keepdim=True))
