"""The classification head: class centres sharded over ranks."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from insightface_cakd.distill.gather import gather_constant, gather_for_shards
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.resharding import share_of
from insightface_cakd.runtime.ranks import rank, world_size

# Number of classes whose initial centres are drawn from one seed.
BLOCK = 4096


class PartialFC_V2(nn.Module):
    """Margin softmax over classes, of which each rank has a contiguous part.

    Rank k has C // W + (k < C % W) rows from C // W * k + min(k, C % W), for W ranks. With `sample_rate < 1` a step
    uses the rows of the batch's own classes and random others. The loss is the mean over the samples of all ranks, the
    same number on every rank; the gradient that reaches the embeddings is multiplied by W, which DDP's averaging
    cancels.

    Args:
        margin_loss: (cosines (N, n), labels (N, 1), -1 for classes of other ranks) -> logits (N, n).
        num_classes: C, at least one per rank.
        sample_rate: share of the rows used in a step, in [0, 1]; at least one row is.
    Attributes:
        keeps_logits: that the margin's output is left as it is; arcface_torch's head writes probabilities over it.
    """

    keeps_logits = True

    def __init__(
        self,
        margin_loss: Callable[[Tensor, Tensor], Tensor],
        embedding_size: int,
        num_classes: int,
        sample_rate: float = 1.0,
        fp16: bool = False,
    ) -> None:
        super().__init__()
        self.rank, self.world_size = rank(), world_size()
        if num_classes < self.world_size:
            raise RunError(
                f"num_classes is {num_classes} on {self.world_size} ranks; expected at least one class per rank. Use fewer ranks."
            )
        if not 0 <= sample_rate <= 1:
            raise RunError(
                f"sample_rate is {sample_rate}; expected a share in [0, 1]. Use 1.0 below about a million classes."
            )
        self.embedding_size = embedding_size
        self.num_classes = num_classes
        self.sample_rate = sample_rate
        self.fp16 = fp16
        mine = share_of(num_classes, self.world_size, self.rank)
        self.class_start, self.num_local = mine.start, mine.stop - mine.start
        self.num_sample = max(1, int(sample_rate * self.num_local))
        self.margin_softmax = margin_loss
        self.weight = nn.Parameter(self._initial_rows())
        self.weight_index: Tensor

    def forward(self, local_embeddings: Tensor, local_labels: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Shape:
            local_embeddings: (B, D), B equal on all ranks; local_labels: (B,) or (B, 1), global class ids, left
                unchanged.
        """
        embeddings = gather_for_shards(local_embeddings.float())
        labels = self._local(gather_constant(local_labels.view(-1)))
        weight: Tensor = self.weight
        if self.sample_rate < 1:
            labels, weight = self._sample(labels)
        with torch.autocast(embeddings.device.type, enabled=self.fp16 and embeddings.device.type == "cuda"):
            cosines = linear(normalize(embeddings), normalize(weight))  # (N, n)
        logits = self.margin_softmax(cosines.float().clamp(-1, 1), labels.view(-1, 1))
        return _ShardedCrossEntropy.apply(logits, labels)

    def _initial_rows(self) -> Tensor:
        """Draw N(0, 0.01) rows in blocks, each block from its own seed.

        0.01 is the standard deviation. The ranks of a run share one seed; a class centre depends on that seed and on
        the class only, so no two shards are alike and the number of ranks changes nothing.
        """
        seed = int(torch.randint(0, 2**31 - 1, (1,)))
        end = self.class_start + self.num_local
        blocks = []
        for block in range(self.class_start // BLOCK, (end - 1) // BLOCK + 1):
            rows = torch.randn(BLOCK, self.embedding_size, generator=torch.Generator().manual_seed(seed + block))
            first = block * BLOCK
            blocks.append(rows[max(self.class_start - first, 0) : end - first])
        return torch.cat(blocks).mul_(0.01)

    def _local(self, labels: Tensor) -> Tensor:
        """Return positions among this rank's rows, -1 for other ranks' classes."""
        mine = (labels >= self.class_start) & (labels < self.class_start + self.num_local)
        return torch.where(mine, labels - self.class_start, -1)

    def _sample(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Choose this step's rows, all positives among them.

        Returns the labels as positions among the chosen rows, and these rows.
        """
        with torch.no_grad():
            index = self._own_classes(labels)
            # Nothing is drawn where there is no room for others, so a seed gives the same draws as in arcface_torch.
            if index is None:
                chance = torch.rand(self.num_local, device=labels.device)
                sure = torch.where(labels >= 0, 2.0, 0.0)
                chance = chance.scatter_reduce(0, labels.clamp_min(0), sure, "amax")
                index = chance.topk(self.num_sample)[1].sort()[0]
            self.weight_index = index
            labels = torch.where(labels >= 0, torch.searchsorted(index, labels.clamp_min(0)), -1)
        return labels, self.weight[index]

    def _own_classes(self, labels: Tensor) -> Tensor | None:
        """Return the batch's classes if they are more than a step uses, else None.

        Asking for their number waits for the device, which is not needed where the batch has fewer images than a step uses classes.
        """
        if len(labels) <= self.num_sample:
            return None
        index = labels[labels >= 0].unique()
        return index if len(index) > self.num_sample else None


class _ShardedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy over classes sharded over the ranks.

    Backward is (softmax - one-hot) / N for this rank's own columns. The value is a difference of logarithms, so it has
    no upper bound; arcface_torch clamps probabilities at 1e-30, a loss of 69.08.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        largest = logits.amax(dim=1, keepdim=True)
        _all_reduce(largest, dist.ReduceOp.MAX)
        shifted = logits - largest
        # By a mask: the places of what is here would have to be known to the host.
        here, columns = labels >= 0, labels.clamp_min(0).unsqueeze(1)
        target = shifted.gather(1, columns).squeeze(1) * here
        _all_reduce(target, dist.ReduceOp.SUM)
        probabilities = shifted.exp_()
        total = probabilities.sum(dim=1, keepdim=True)
        _all_reduce(total, dist.ReduceOp.SUM)
        probabilities.div_(total)
        ctx.save_for_backward(probabilities, here, columns)
        return (total.log().view(-1) - target).mean()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        probabilities, here, columns = ctx.saved_tensors
        logits = probabilities.scatter_add(1, columns, -here.to(probabilities.dtype).unsqueeze(1))
        return logits.mul_(gradient / len(here)), None


def _all_reduce(values: Tensor, op: Any) -> None:
    if world_size() > 1:
        dist.all_reduce(values, op=op)
