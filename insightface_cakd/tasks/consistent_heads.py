"""Two linear classifiers that learn from each other: the head of CKD."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from insightface_cakd.distill.gather import ShardedClasses, gather_constant, gather_for_shards
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.losses.base import precise
from insightface_cakd.losses.classes import WHOLE_ROWS, ClassAxis
from insightface_cakd.losses.kd import SoftTargetLoss
from insightface_cakd.runtime.ranks import world_size

BRANCHES = ("face", "strip")


class LinearClassifier(PartialFC_V2):
    """Linear layer with bias, its classes divided among ranks.

    The rows are divided and drawn, N(0, 0.01), as those of `PartialFC_V2`; the biases start at 0.

    Args:
        embedding_size: D.
        num_classes: C, of all ranks together.
    """

    def __init__(self, embedding_size: int, num_classes: int) -> None:
        super().__init__(nn.Identity(), embedding_size, num_classes)
        self.bias = nn.Parameter(torch.zeros(self.num_local))

    def forward(self, embeddings: Tensor) -> Tensor:  # type: ignore[override]
        """Return the logits of this rank's classes.

        Shape:
            embeddings: (N, D), the rows of all ranks. Returns (N, n).
        """
        return linear(embeddings, self.weight, self.bias)

    def columns(self, labels: Tensor) -> Tensor:
        """Return each label's column here, -1 for other ranks' classes."""
        return self._local(labels)


def sharded_cross_entropy(logits: Tensor, columns: Tensor, axis: ClassAxis = WHOLE_ROWS) -> Tensor:
    """Return the mean cross-entropy over rows whose classes are divided among ranks.

    mean_i (log sum_c exp z_ic - z_i,y). Each rank gets the gradient of its own columns.

    Shape:
        logits: (N, n). columns: (N,), -1 where another rank has the class.
    """
    shifted = logits - axis.max(logits)
    own = shifted.gather(1, columns.clamp_min(0)[:, None]) * (columns >= 0)[:, None]
    return (axis.sum(shifted.exp()).log() - axis.sum(own)).mean()


class ConsistentHeads(nn.Module):
    """Cross-entropy of both branches, and consistency in both directions.

    CE(z_f, y) + CE(z_o, y) + c T^2 [KL(sg z_o || z_f) + KL(sg z_f || z_o)], probabilities softened by T, means over the batch; for answers
    of one branch, its cross-entropy alone. No margin, no scale. Classes are divided among ranks as in `PartialFC_V2`, and gradients are
    scaled as there, so any number of ranks gives the gradient of one process.

    Shape:
        answers: (B, 2, D), the face first, or (B, D). labels: (B,).

    Args:
        embedding_size: D.
        num_classes: C.
        consistency: c >= 0.
        temperature: T > 0.
        both: whether there are two branches.

    Source:
        CKD (2012.06746): c = 1, T = 2.5.
    """

    def __init__(
        self, embedding_size: int, num_classes: int, consistency: float, temperature: float, both: bool
    ) -> None:
        super().__init__()
        self.consistency = consistency
        self.branches = BRANCHES if both else BRANCHES[1:]
        self.classifiers = nn.ModuleDict(
            {name: LinearClassifier(embedding_size, num_classes) for name in self.branches}
        )
        self.divergence = SoftTargetLoss(temperature)
        # Of the last step, by name; the distilled head logs them.
        self.shown: dict[str, Tensor] = {}

    def forward(self, answers: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, a scalar, the same on every rank."""
        axis = ShardedClasses() if world_size() > 1 else WHOLE_ROWS
        everyone = gather_for_shards(precise(answers))
        labels = gather_constant(labels.view(-1))
        rows = everyone.unbind(1) if len(self.branches) > 1 else (everyone,)
        with torch.autocast(everyone.device.type, enabled=False):
            logits = {name: self._classifier(name)(row) for name, row in zip(self.branches, rows, strict=True)}
            columns = self._classifier("strip").columns(labels)
            self.shown = {f"ce_{name}": sharded_cross_entropy(z, columns, axis) for name, z in logits.items()}
            loss = torch.stack(list(self.shown.values())).sum()
            if len(logits) > 1 and self.consistency > 0:
                face, strip = logits["face"], logits["strip"]
                self.shown["kl_to_strip"] = self.divergence(face, strip, None, axis)
                self.shown["kl_to_face"] = self.divergence(strip, face, None, axis)
                loss = loss + self.consistency * (self.shown["kl_to_strip"] + self.shown["kl_to_face"])
        self.shown = {name: value.detach() for name, value in self.shown.items()}
        return loss

    def _classifier(self, name: str) -> Any:
        return self.classifiers[name]
