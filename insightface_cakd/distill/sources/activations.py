"""Embeddings, and the maps or tokens that taps read."""

from collections.abc import Mapping

from torch import Tensor, nn

from insightface_cakd.distill.projectors import Shapes, build_projectors
from insightface_cakd.distill.sources.source import Context, Seen, Setting, Source, shape_of
from insightface_cakd.recipe import TermSpec


class Activations(Source):
    """Offers `embedding` and `map`: an embedding or a tapped module's output.

    Terms that read the same activation share one entry: DDP returns a tensor that it is given twice as two tensors in its first step only,
    and the order in which gradients are then summed would differ after a resume.

    Args:
        setting: what the source is made from.
    """

    name = "projectors"
    offers = ("embedding", "map")

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.projectors = nn.ModuleDict()

    @classmethod
    def takes_part(cls, setting: Setting) -> bool:
        """Return True: every run has embeddings.

        Args:
            setting: not read.
        """
        return True

    def build(self, blank: Context) -> nn.Module:
        """Return the projectors of the terms that name one.

        The shapes of terms that need none are checked.

        Raises:
            ShapeError: a term's two sides do not fit.
        """
        teachers = {name: _shapes(seen) for name, seen in blank.teachers.items()}
        self.projectors = build_projectors(
            self.setting.terms, _shapes(blank.student), lambda term: teachers[self.whose(term)]
        )
        return self.projectors

    def forward(self, context: Context) -> dict[str, Tensor]:
        """Return what each term compares, the student's side already projected."""
        found: dict[str, Tensor] = {}
        for term in self.setting.terms:
            teacher = context.teachers[self.whose(term)]
            if term.student is not None or term.projector is not None:
                ours = context.student.embedding if term.student is None else context.student.taps[term.student]
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


def _shapes(seen: Seen) -> Shapes:
    """Return each activation's shape without the batch, the embedding's under None."""
    return {None: shape_of(seen.embedding), **{path: shape_of(activation) for path, activation in seen.taps.items()}}
