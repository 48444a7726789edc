"""Embeddings, and the maps or tokens that taps read."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from insightface_cakd.distill.projectors import Shape, build_projector, check_shapes
from insightface_cakd.distill.sources.context import Batch, Context, Setting
from insightface_cakd.distill.sources.nested import nested_widths, require_stateless
from insightface_cakd.distill.sources.source import Source
from insightface_cakd.losses import LOSSES, DistillLoss
from insightface_cakd.recipe import TermSpec


class Activations(Source):
    """Offers `embedding` and `map`: an embedding or a tapped module's output.

    The student's side passes through its projector. Terms that read the same activation share one entry: DDP returns a tensor that it is
    given twice as two tensors in its first step only, and the order in which gradients are then summed would differ after a resume.
    """

    name = "projectors"
    offers = ("embedding", "map")

    @classmethod
    def takes_part(cls, setting: Setting) -> bool:
        """Return True: every run has embeddings."""
        return True

    def build(self, blank: Context) -> nn.Module:
        """Return the projectors of the terms that name one.

        The shapes of terms that need none are checked.
        """
        self.projectors = nn.ModuleDict()
        self.widths: dict[str, list[int]] = {}
        for term in self.setting.terms:
            where = f"term '{term.name}'"
            ours: Shape = tuple(blank.student.read(term.student).shape[1:])
            theirs: Shape = tuple(blank.teachers[self.whose(term)].read(term.teacher).shape[1:])
            if term.nested is not None:
                self._build_nested(term, ours, theirs)
            elif term.projector is not None:
                self.projectors[term.name] = build_projector(term.projector, ours, theirs, where)
            elif LOSSES[term.loss].same_shape:
                check_shapes(where, ours, theirs)
        return self.projectors

    def _build_nested(self, term: TermSpec, ours: Shape, theirs: Shape) -> None:
        """Build one projector for each prefix of the student's embedding."""
        require_stateless(term, f"term '{term.name}'.nested", "width", "Give each width a term of its own.")
        self.widths[term.name] = widths = nested_widths(term, ours)
        kind = term.projector or "orthogonal"
        for width in widths:
            where = f"term '{term.name}', width {width}"
            self.projectors[f"{term.name}_{width}"] = build_projector(kind, (width,), theirs, where)

    def forward(self, context: Context) -> dict[str, Tensor]:
        """Return what each term compares, the student's side already projected."""
        found: dict[str, Tensor] = {}
        for term in self.setting.terms:
            teacher = context.teachers[self.whose(term)]
            for width in self.widths.get(term.name, ()):
                prefix = context.student.embedding[:, :width].float()
                found[_nested_key(term, width)] = self.projectors[f"{term.name}_{width}"](prefix)
            if term.nested is None and (term.student is not None or term.projector is not None):
                ours = context.student.read(term.student)
                projected = self.projectors[term.name](ours.float()) if term.name in self.projectors else ours
                found[self._student_key(term)] = projected
            if term.teacher is not None:
                found[self._teacher_key(term)] = teacher.taps[term.teacher]
        return found

    def pair(self, term: TermSpec, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the two activations."""
        return features[self._student_key(term)], features[self._teacher_key(term)]

    def run(self, loss: DistillLoss, term: TermSpec, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return a term's value, the mean over prefixes if nested."""
        if term.nested is None:
            return super().run(loss, term, features, batch)
        key, values = self._student_key(term), []
        for width in self.widths[term.name]:
            prefix = {**features, key: features[_nested_key(term, width)]}
            values.append(super().run(loss, term, prefix, batch))
        return torch.stack(values).mean()

    @staticmethod
    def _student_key(term: TermSpec) -> str:
        return f"{term.name}.student" if term.projector is not None else f"student.{term.student or 'embedding'}"

    def _teacher_key(self, term: TermSpec) -> str:
        return f"{self.whose(term)}.{term.teacher or 'embedding'}"


def _nested_key(term: TermSpec, width: int) -> str:
    return f"{term.name}.student.{width}"
