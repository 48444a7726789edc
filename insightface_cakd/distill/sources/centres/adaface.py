"""AdaFace: a margin for each image by the norm of its embedding."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.distill.gather import gather_constant
from insightface_cakd.distill.sources.centres.margins import scale_of
from insightface_cakd.distill.sources.context import Context, Setting
from insightface_cakd.distill.sources.source import Source
from insightface_cakd.errors import RunError

EPS = 1e-3
LEAST, MOST = 1e-3, 100.0
# The weight of a batch in the running statistics, and what these start from: values of the paper's released code.
SHARE, MEAN, STD = 0.01, 20.0, 100.0


class NormStatistics(nn.Module):
    """Running mean and standard deviation of the embeddings' norms.

    Each step moves them by a hundredth towards those of the batch of all ranks; they are in checkpoints.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN))
        self.register_buffer("std", torch.tensor(STD))

    def update(self, norms: Tensor) -> None:
        """Take note of a batch.

        A single image has no deviation and changes the mean only.

        Shape:
            norms: (N,).
        """
        self.mean.lerp_(norms.mean().to(self.mean), SHARE)
        if len(norms) > 1:
            self.std.lerp_(norms.std().to(self.std), SHARE)

    def standing(self, norms: Tensor, h: float) -> Tensor:
        """Return each norm's place in [-1, 1].

        That is h (norm - mean) / (std + 1e-3), clipped.

        Shape:
            norms: (N,). Returns (N,).
        """
        return (h * (norms - self.mean) / (self.std + EPS)).clamp(-1, 1)


class AdaFaceMargin(nn.Module):
    """Replaces the host's margin by AdaFace's; the scale stays the host's.

    s (cos(theta_y + g_angle) - g_add) for the own class, s cos theta_j for the others, with g_angle = -m z, g_add = m z + m and z the
    standing of the image's norm. The angle with its margin is kept in [1e-3, pi - 1e-3]. The gradient is that of the equation.
    """

    def __init__(self, host: nn.Module, m: float) -> None:
        super().__init__()
        self.s, self.m = scale_of(host, "head.margin: adaface"), m
        self.standing: Tensor | None = None

    def forward(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return the logits; `standing`, (N,), must have been set for the batch.

        Shape:
            cosines: (N, n) in [-1, 1], left unchanged. labels: (N, 1) or (N,), -1 where another rank has the class. Returns (N, n).
        """
        if self.standing is None:
            raise RunError("head.margin: adaface has no norms for this batch; expected a head with a `head` part.")
        standing, self.standing = self.standing[:, None].to(cosines.dtype), None
        labels = labels.view(-1, 1)
        here, columns = labels >= 0, labels.clamp_min(0)
        target = cosines.gather(1, columns)
        angle = target.clamp(EPS - 1, 1 - EPS).acos() - self.m * standing
        moved = angle.clamp(EPS, math.pi - EPS).cos() - self.m * (standing + 1)
        return cosines.scatter(1, columns, torch.where(here, moved, target)) * self.s


class AdaFace(Source):
    """Gives the head AdaFace's margin, whoever owns its class centres.

    The norms are those of the student's own embeddings, of the batch of all ranks, clipped to [0.001, 100] and treated as constants.

    Source: AdaFace (arXiv 2204.00964), equations 13 to 17; the start of the statistics is that of its released code.
    """

    name = "adaface"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        assert setting.recipe.head is not None, "checked by `takes_part`"
        self.spec = setting.recipe.head
        self.statistics = NormStatistics()

    @classmethod
    def takes_part(cls, setting: Setting) -> bool:
        """Return whether the recipe's part `head` asks for it."""
        return setting.recipe.head is not None and setting.recipe.head.margin == "adaface"

    def build(self, blank: Context) -> nn.Module:
        """Return the running statistics, which checkpoints keep."""
        self.statistics.to(blank.images.device)
        return self.statistics

    def begin(self, head: Any, classes: int) -> None:
        """Put the margin into the head."""
        self.margin = head.margin_softmax = AdaFaceMargin(head.margin_softmax, self.spec.strength)

    @torch.no_grad()
    def before_loss(self, head: Any, features: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Set each image's standing in the gathered batch; log their mean."""
        own = features["student.embedding"].detach().float().norm(dim=1).clamp(LEAST, MOST)
        norms = gather_constant(own)
        if head.training:
            self.statistics.update(norms)
        standing = self.statistics.standing(norms, self.spec.concentration)
        self.margin.standing = standing
        return {"head.norm": norms.mean(), "head.standing": standing.mean()}
