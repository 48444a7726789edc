"""Gathers over ranks, with the gradients of one process."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from insightface_cakd.runtime.ranks import rank, world_size


class _Gather(torch.autograd.Function):
    """Concatenate over ranks, differentiably.

    The backward is a rank's own slice of the sum over ranks, multiplied by a factor.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, factor: int) -> Tensor:
        ctx.factor = factor
        return gather_constant(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()] * ctx.factor, None


def gather(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, in rank order, differentiably.

    For a loss that every rank computes whole. DDP averages parameter gradients over ranks: the sum over ranks then gives exactly the
    gradient of one process.

    Shape:
        rows: (B, ...), equal on every rank. Returns (R * B, ...); without a process group, the rows themselves.
    """
    return _Gather.apply(rows, 1) if world_size() > 1 else rows


def gather_for_shards(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, for a loss sharded by class.

    As `gather`, but for a loss of which each rank computes the gradient of its own classes. The sum over ranks is whole only once, so that
    it takes the factor R of PartialFC's gather to cancel DDP's average.
    """
    return _Gather.apply(rows, world_size()) if world_size() > 1 else rows


@torch.no_grad()
def gather_constant(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, in rank order, without gradient."""
    if world_size() == 1:
        return rows.detach()
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


@torch.no_grad()
def sum_over_ranks(values: Tensor) -> Tensor:
    """Return the sum over ranks, entry by entry, without gradient."""
    if world_size() == 1:
        return values.detach()
    total = values.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


class _SumOverRanks(torch.autograd.Function):
    """All-reduce whose backward is the identity.

    Each rank contributes its share of a sum that all ranks use alike.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class ShardedClasses:
    """Reductions over the classes of all ranks, for class-sharded logits.

    Each rank has some of the columns, (N, n). The gradient that comes out is the share of this rank's columns; behind PartialFC's own
    gather (sum, times W) that is what the head needs.
    """

    @property
    def place(self) -> int:
        """Return the rank, which is the place among the ranks' columns."""
        return rank()

    def max(self, logits: Tensor) -> Tensor:
        """Return each row's largest logit over all ranks, (N, 1), without gradient."""
        largest = logits.detach().amax(dim=1, keepdim=True)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return largest

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of each row over all ranks, (N, 1)."""
        return _SumOverRanks.apply(values.sum(dim=1, keepdim=True))

    def gather(self, values: Tensor) -> Tensor:
        """Return the values (...) of each rank, (R, ...), without gradient."""
        return gather_constant(values.unsqueeze(0))

    def sum_and_gather(self, summed: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum over ranks, and each one's own values (R, ...).

        One reduction: a rank adds zeros to the values of the others.
        """
        own = own.detach()
        slots = [own if number == self.place else torch.zeros_like(own) for number in range(world_size())]
        both = sum_over_ranks(torch.cat([summed.flatten(), *(slot.flatten() for slot in slots)]))
        total, each = both.split([summed.numel(), world_size() * own.numel()])
        return total.view_as(summed), each.view(-1, *own.shape)
