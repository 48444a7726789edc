"""Automatic balance: the terms pull at the embedding as strongly as the recipe says, measured against the margin loss."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from insightface_cakd.errors import RecipeError
from insightface_cakd.losses import LOSSES
from insightface_cakd.runtime.ranks import world_size

if TYPE_CHECKING:
    from insightface_cakd.recipe import TermSpec

LIMIT = math.log(1e3)


class BalanceSpec(BaseModel):
    """How strongly the terms pull at the embedding.

    Weights and schedules then only say how the terms stand to each other.

    Args:
        ratio: wanted norm of the terms' gradient at the student's embedding over that of the margin loss.
        momentum: of the moving average of what is measured, in [0, 1); 0 goes by the last step alone.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    ratio: float = Field(gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.99, ge=0, lt=1)


@dataclass
class EmbeddingGradients:
    """Squared norms of what the margin and the distillation send back to the embedding in one step; None before the backward."""

    margin: Tensor | None = None
    distillation: Tensor | None = None

    def squares(self, device: torch.device) -> Tensor:
        """Return both, (2,); 0 for what has sent nothing."""
        zero = torch.zeros((), device=device)
        return torch.stack([zero if part is None else part for part in (self.margin, self.distillation)])


class Balance:
    """The factor f of the terms that makes |f d| = ratio |m|, d and m the gradients at the embedding.

    f = clamp(ratio exp(a), 1e-3, 1e3), a the moving average (bias-corrected) of log(|m| / |d|) over the steps before this one; 1 before
    anything was measured. The norms are those of the batch of all ranks, so f is the same on each. A step in which one of them is 0
    or not finite (a weight that is still 0, an overflow of float16) is passed over. Nothing is read from the device.

    Terms that read the student's logits reach the embedding through the head: their gradient counts with the margin's, and f is not
    applied to them, or it would chase itself.

    Args:
        spec: of the recipe.
    """

    def __init__(self, spec: BalanceSpec) -> None:
        self.spec = spec
        # Sum of the weighted logarithms, and of the weights.
        self._average = torch.zeros(2)
        self._loaded: Tensor | None = None

    def factor(self, device: torch.device) -> Tensor:
        """Return f, a scalar on the device."""
        total, weight = self._average.to(device)
        mean = total / weight.clamp_min(torch.finfo(weight.dtype).tiny)
        return torch.where(weight > 0, (mean + math.log(self.spec.ratio)).clamp(-LIMIT, LIMIT), 0.0).exp()

    @torch.no_grad()
    def learn(self, gradients: EmbeddingGradients, device: torch.device) -> None:
        """Take in what the last step measured; every rank must call it.

        Args:
            gradients: of this rank; after a resume those of the saved run take their place.
            device: where the step runs.
        """
        squares = gradients.squares(device) if self._loaded is None else self._loaded.to(device)
        self._loaded = None
        if world_size() > 1:
            dist.all_reduce(squares)
        # What was measured had the factor of its step on it, which only depends on the steps before.
        found = (squares[0].log() - squares[1].log()) / 2 + self.factor(device).log()
        average, momentum = self._average.to(device), self.spec.momentum
        moved = momentum * average + (1 - momentum) * torch.stack([found, torch.ones_like(found)])
        self._average = torch.where(torch.isfinite(found), moved, average)

    def state(self, gradients: EmbeddingGradients) -> Tensor:
        """Return what a resumed run needs, (4,): the average, and what this rank measured in its last step.

        Args:
            gradients: of the last step.
        """
        device = self._average.device
        last = gradients.squares(device) if self._loaded is None else self._loaded
        return torch.cat([self._average, last.to(device)])

    def load(self, state: Tensor) -> None:
        """Go on where `state` was taken."""
        self._average, self._loaded = state[:2].clone(), state[2:].clone()


def scales(term: "TermSpec") -> bool:
    """Return whether the factor is applied to a term."""
    return LOSSES[term.loss].reads != "logits"


def check_balance(terms: Iterable["TermSpec"], where: str) -> None:
    """Check that there is something to measure.

    Args:
        terms: of the recipe.
        where: what the error line begins with.

    Raises:
        RecipeError: no term reaches the student's embedding, or a schedule that all terms have would be taken out.
    """
    on = [term for term in terms if term.weight > 0]
    names = ", ".join(term.name for term in on)
    if not any(_reaches_embedding(term) for term in on):
        raise RecipeError(
            f"{where}: balance compares gradients at the embedding, and no term ({names}) sends one there but through the head "
            "or through feature maps; expected a term on the embedding, such as cosine. Add one, or remove the balance."
        )
    if all(term.schedule.kind != "constant" for term in on if scales(term)):
        raise RecipeError(
            f"{where}: balance takes out a schedule that all terms ({names}) have; expected one of weight constant through the run. Leave "
            "schedules or balance out."
        )


def _reaches_embedding(term: "TermSpec") -> bool:
    return term.student is None and LOSSES[term.loss].reads in ("embedding", "map")
