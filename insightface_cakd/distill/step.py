"""Runs the terms of one training step: weights, schedules, gathering over ranks, and a watch on finiteness."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from insightface_cakd.distill.gather import ShardedClasses, gather, gather_constant
from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.losses import LOGITS, LOSSES
from insightface_cakd.losses.classes import WHOLE_ROWS
from insightface_cakd.recipe import TermSpec
from insightface_cakd.recipe.schedule import Length, factor
from insightface_cakd.runtime.ranks import rank, world_size

Side = Literal["student", "teacher"]
SIDES: tuple[Side, Side] = ("student", "teacher")
URFM = "urfm_"
# Under this name terms that read logits find the column of each sample's class, -1 where another rank has it.
COLUMNS = "columns"


def feature_key(term: TermSpec, side: Side) -> str:
    """Return the name under which a term finds what it reads.

    Terms that read the same activation share one entry: DDP hands a tensor that it is given twice out as two in its first step
    only, and the order in which gradients are then summed would differ after a resume.

    Args:
        term: of the recipe.
        side: "student" or "teacher".
    """
    reads = LOSSES[term.loss].reads
    if reads.startswith(URFM):
        return f"urfm.{side}.{reads.removeprefix(URFM)}"
    if reads == "prompted":
        return "teacher.embedding" if side == "student" else "teacher.plain"
    own = reads in LOGITS or (side == "student" and term.projector is not None)
    path = term.student if side == "student" else term.teacher
    return f"{term.name}.{side}" if own else f"{side}.{path or 'embedding'}"


class DistillationStep(nn.Module):
    """The weighted sum of a recipe's terms.

    total = sum over terms of weight * schedule(step) * loss(student, teacher). Local-mean terms are added as they
    are; pairwise terms see the rows of every rank; logits terms see this rank's classes. All terms run from the first step
    on, so a schedule changes a weight and never the graph. A step is one batch of a rank, of which the optimiser may join several.

    Args:
        terms: the recipe's terms; those of weight 0 are left out.
        length: of the run; only for schedules that need it.

    Raises:
        RecipeError: a schedule needs the length of the run, and there is none.
    """

    def __init__(self, terms: Iterable[TermSpec], length: Length | None = None) -> None:
        super().__init__()
        self.terms = [term for term in terms if term.weight > 0]
        self.length = length
        self._check_schedules()
        self.losses = nn.ModuleDict({term.name: term.build_loss() for term in self.terms})
        self.step = 0
        self.raw: dict[str, Tensor] = {}
        self.weighted: dict[str, Tensor] = {}
        self._first_bad: dict[str, Tensor] = {}

    def forward(self, features: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the weighted sum of the terms for one batch.

        Shape:
            features: under `feature_key` what each term reads; labels: (B,). Logits are (N, local classes) of the gathered
            batch, and so need no further gathering; in place of labels they have `COLUMNS`, (N, 1).
        """
        total = torch.zeros((), device=labels.device)
        everyone = gather_constant(labels) if any(LOSSES[term.loss].gathers for term in self.terms) else labels
        for term in self.terms:
            raw = self._run(term, features, labels, everyone)
            self._note(term.name, raw.detach())
            weighted = self.weight(term) * raw
            self.weighted[term.name] = weighted.detach()
            total = total + weighted
        self.step += 1
        return total

    def weight(self, term: TermSpec) -> float:
        """Return a term's weight at the current step by its schedule."""
        return term.weight * factor(term.schedule, self.step, self.length)

    def watch(self, name: str, value: Tensor) -> None:
        """Keep a value beside the terms, to be logged and checked with them (the margin loss)."""
        self._note(name, value.detach())

    def check_finite(self) -> None:
        """Stop the run if a term has been NaN or infinite since the last check. Reads the device: call it seldom.

        Raises:
            RunError: names the term, the step and the rank.
        """
        for name, first_bad in self._first_bad.items():
            step = int(first_bad)
            if step >= 0:
                values = ", ".join(f"{other} {float(value):.4g}" for other, value in self.raw.items())
                raise RunError(
                    f"step {step}: term '{name}' is not finite (rank {rank()}); raw terms now: {values}. Nothing was saved over "
                    "the last good checkpoint. Lower the learning rate or the term's weight, or look at the images of that step."
                )

    def _check_schedules(self) -> None:
        for term in self.terms:
            if term.schedule.needs_length and self.length is None:
                raise RecipeError(
                    f"recipe: the schedule {term.schedule.kind} of term '{term.name}' needs the length of the run, and this loop does not "
                    "say it; expected a plan with a length. Give one to seam.install, or use schedule: {kind: linear, steps: N}."
                )

    def _run(self, term: TermSpec, features: dict[str, Tensor], labels: Tensor, everyone: Tensor) -> Tensor:
        value = self._call(term, features, labels, everyone)
        for name in LOSSES[term.loss].shows:
            self._note(f"{term.name}.{name}", getattr(self.losses[term.name], name))
        return value

    def _call(self, term: TermSpec, features: dict[str, Tensor], labels: Tensor, everyone: Tensor) -> Tensor:
        loss, kind = self.losses[term.name], LOSSES[term.loss]
        student, teacher = (features[feature_key(term, side)] for side in SIDES)
        if kind.reads in LOGITS:
            return loss(student, teacher, features[COLUMNS], ShardedClasses() if world_size() > 1 else WHOLE_ROWS)
        if kind.gathers:
            return loss(gather(student), gather_constant(teacher), everyone)
        return loss(student, teacher, labels)

    def _note(self, name: str, value: Tensor) -> None:
        """Remember a raw value, and on its device the first step at which it was not finite."""
        self.raw[name] = value
        first = self._first_bad.get(name)
        if first is None:
            first = torch.full((), -1, device=value.device)
        now_bad = ~torch.isfinite(value) & (first < 0)
        self._first_bad[name] = torch.where(now_bad, self.step, first)
