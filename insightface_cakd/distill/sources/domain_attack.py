"""Images moved so that their domain cannot be told."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, layer_norm, log_softmax

from insightface_cakd.distill.sources.context import Context, Seen, Setting
from insightface_cakd.distill.sources.source import Source

Reading = Literal["uniform", "true"]
# One code a face: 2 x domain + live.
KINDS = 2


class DomainAttack(Source):
    """Show both sides images whose domain is harder to tell.

    Reading `uniform`: x' = clip(x - eps sign grad_x CE(Dm(F(x)), uniform)).
    Reading `true`: x' = clip(x + eps sign grad_x CE(Dm(F(x)), domain)).

    F is the student's trunk in eval mode, averaged over the grid of its map and standardised over its channels, since before the batch
    norms have learnt their statistics a map may reach 1e8 (r18). Dm is a linear classifier that starts at zero, so that at first nothing
    moves, and learns from CE(Dm(sg F(x)), domain) of weight 1. The gradient is taken with respect to the images alone.

    Args:
        setting: of the run.
        domains: number of domains.
        reading: which of the two.
        epsilon: in units of [-1, 1].
        tap: module path of the trunk's last map, (B, C, h, w), or of its features (B, C).
        codes: gives 2 x domain + live of the current batch, (B,); only `true` calls it.

    Source:
        DTDA (2401.01102), equations inferred: an assumption.
    """

    name = "domains"

    def __init__(
        self, setting: Setting, domains: int, reading: Reading, epsilon: float, tap: str, codes: Callable[[], Tensor]
    ) -> None:
        super().__init__(setting)
        self.domains, self.reading, self.epsilon, self.tap, self.codes = domains, reading, epsilon, tap, codes

    def student_taps(self) -> list[str]:
        """Return the path of the trunk."""
        return [self.tap]

    def teacher_taps(self, name: str) -> list[str]:
        """Return none."""
        return []

    def build(self, blank: Context) -> nn.Module:
        """Return the domain classifier."""
        width = _pooled(blank.student.taps[self.tap]).shape[1]
        self.classifier = nn.Linear(width, self.domains).to(blank.images.device)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        return self.classifier

    def perturb(self, images: Tensor, look: Callable[[Tensor], Seen]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the moved images, and Dm(sg F(x)) (B, domains)."""
        domains = self.codes().to(images.device) // KINDS if self.reading == "true" else None
        kept: list[Tensor] = []

        def answer(given: Tensor) -> Tensor:
            features = _pooled(look(given).taps[self.tap])
            kept.append(layer_norm(features, features.shape[1:]))
            return self.classifier(kept[0])

        moved = attacked(images, answer, self.epsilon, domains)
        return moved, {"domains.logits": self.classifier(kept[0].detach())}

    def own_loss(self, features: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        """Return the cross-entropy of the domains."""
        return cross_entropy(features["domains.logits"], labels // KINDS)


def attacked(
    images: Tensor, answer: Callable[[Tensor], Tensor], epsilon: float, domains: Tensor | None = None
) -> Tensor:
    """Return images whose domain is harder to tell.

    Parameters get no gradient. A gradient of 0 moves nothing.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        answer: gives domain logits (B, n).
        epsilon: largest change of a value.
        domains: (B,), ascends the cross-entropy to them; None descends that to the uniform distribution.
    """
    with torch.enable_grad():
        moving = images.detach().requires_grad_()
        logits = answer(moving).float()
        # Sums, so that an image's gradient does not depend on the size of its batch.
        if domains is None:
            towards = log_softmax(logits, dim=1).mean(dim=1).sum()
        else:
            towards = cross_entropy(logits, domains, reduction="sum")
        (gradient,) = torch.autograd.grad(towards, moving)
    return (images + epsilon * gradient.sign()).clamp(-1, 1).detach()


def _pooled(features: Tensor) -> Tensor:
    """Return (B, C) float32 from a map (B, C, h, w) or from (B, C)."""
    return features.float().flatten(2).mean(dim=2) if features.dim() > 2 else features.float()
