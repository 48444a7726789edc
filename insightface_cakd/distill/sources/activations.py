"""Embeddings, and the maps or tokens that taps read."""

from collections.abc import Mapping

from torch import Tensor, nn

from insightface_cakd.distill.projectors import Shape, build_projector, check_shapes
from insightface_cakd.distill.sources.source import Context, Setting, Source
from insightface_cakd.losses import LOSSES
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
        for term in self.setting.terms:
            where = f"term '{term.name}'"
            ours: Shape = tuple(blank.student.read(term.student).shape[1:])
            theirs: Shape = tuple(blank.teachers[self.whose(term)].read(term.teacher).shape[1:])
            if term.projector is not None:
                self.projectors[term.name] = build_projector(term.projector, ours, theirs, where)
            elif LOSSES[term.loss].same_shape:
                check_shapes(where, ours, theirs)
        return self.projectors

    def forward(self, context: Context) -> dict[str, Tensor]:
        """Return what each term compares, the student's side already projected."""
        found: dict[str, Tensor] = {}
        for term in self.setting.terms:
            teacher = context.teachers[self.whose(term)]
            if term.student is not None or term.projector is not None:
                ours = context.student.read(term.student)
                projected = self.projectors[term.name](ours.float()) if term.name in self.projectors else ours
                found[self._student_key(term)] = projected
            if term.teacher is not None:
                found[self._teacher_key(term)] = teacher.taps[term.teacher]
        return found

    def pair(self, term: TermSpec, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the two activations."""
        return features[self._student_key(term)], features[self._teacher_key(term)]

    @staticmethod
    def _student_key(term: TermSpec) -> str:
        return f"{term.name}.student" if term.projector is not None else f"student.{term.student or 'embedding'}"

    def _teacher_key(self, term: TermSpec) -> str:
        return f"{self.whose(term)}.{term.teacher or 'embedding'}"
