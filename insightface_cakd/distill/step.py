"""Runs the distillation terms of one training step."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.distill.gather import gather_constant
from insightface_cakd.distill.sources import Batch, Source, asking
from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.recipe import TermSpec
from insightface_cakd.recipe.schedule import Length, factor
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.runtime.ranks import rank


class DistillationStep(nn.Module):
    """The weighted sum of a recipe's terms.

    total = sum over terms of weight * schedule(step) * loss(student, teacher). Local-mean terms are added as they
    are; pairwise terms see the rows of every rank; logits terms see this rank's classes. All terms run from the first step
    on, so a schedule changes a weight and never the graph. A step is one batch of a rank, of which the optimiser may join several.

    Terms of weight 0 are left out; each other is run by the first source that offers what it reads. Without a `length` no schedule may need
    it.
    """

    def __init__(self, terms: Iterable[TermSpec], sources: Sequence[Source] = (), length: Length | None = None) -> None:
        super().__init__()
        self.terms = [term for term in terms if term.weight > 0]
        self.length = length
        self._source = {
            term.name: next(source for source in sources if term.reading in source.offers) for term in self.terms
        }
        for term in self.terms:
            if hasattr(nn.ModuleDict(), term.name):
                raise RecipeError(
                    f"recipe: term '{term.name}': modules are kept by this name, which torch's have; expected another. Give it "
                    "a `name`."
                )
            if term.schedule.needs_length and length is None:
                raise RecipeError(
                    f"recipe: the schedule {term.schedule.kind} of term '{term.name}' needs the length of the run, and this loop does not "
                    "say it; expected a plan with a length. Give one to seam.install, or use schedule: {kind: linear, steps: N}."
                )
        self.losses = nn.ModuleDict({term.name: term.build_loss() for term in self.terms})
        self.step = 0
        self.raw: dict[str, Tensor] = {}
        self.weighted: dict[str, Tensor] = {}
        self._first_bad: dict[str, Tensor] = {}

    def forward(self, features: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the weighted sum of the terms for one batch.

        Shape:
            features: what the sources gave; labels: (B,).
        """
        total = torch.zeros((), device=labels.device)
        gathers = any(loss.gathers for loss in self.losses.values())
        batch = Batch(labels, gather_constant(labels) if gathers else labels)
        for term in self.terms:
            raw = self._run(term, features, batch)
            self.watch(term.name, raw)
            weighted = self.weight(term) * raw
            self.weighted[term.name] = weighted.detach()
            total = total + weighted
        self.step += 1
        return total

    def weight(self, term: TermSpec) -> float:
        """Return a term's weight at the current step by its schedule."""
        return term.weight * factor(term.schedule, self.step, self.length)

    def watch(self, name: str, value: Tensor) -> None:
        """Log and check a scalar.

        The first step at which it is not finite is recorded on its device, which is not waited for.
        """
        value = value.detach()
        self.raw[name] = value
        first = self._first_bad.get(name)
        if first is None:
            first = torch.full((), -1, device=value.device)
        now_bad = ~torch.isfinite(value) & (first < 0)
        self._first_bad[name] = torch.where(now_bad, self.step, first)

    def check_finite(self) -> None:
        """Stop the run if a term became NaN or infinite.

        The RunError names term, step and rank. Looks at all steps since the last check. Reads the device: call it seldom.
        """
        for name, first_bad in self._first_bad.items():
            step = int(first_bad)
            if step >= 0:
                values = ", ".join(f"{other} {float(value):.4g}" for other, value in self.raw.items())
                raise RunError(
                    f"step {step}: term '{name}' is not finite (rank {rank()}); raw terms now: {values}. Nothing was saved over "
                    "the last good checkpoint. Lower the learning rate or the term's weight, or look at the images of that step."
                )

    def _run(self, term: TermSpec, features: dict[str, Tensor], batch: Batch) -> Tensor:
        loss: Any = self.losses[term.name]
        source, where = self._source[term.name], f"term '{term.name}': loss {term.loss}"
        with asking(source), foreign(where, RunError, "one number for a batch. Correct the loss.", of=loss):
            value = source.run(loss, term, features, batch)
            if not isinstance(value, Tensor) or value.numel() != 1:
                said = tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
                raise RunError(f"{where}: gives {said} for a batch; expected one number, a tensor. Return the mean.")
            for name in loss.shows:
                self.watch(f"{term.name}.{name}", getattr(loss, name))
        return value
