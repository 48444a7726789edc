"""Unified receptive fields as a source."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from insightface_cakd.distill.sources.context import Context, Seen, Setting
from insightface_cakd.distill.sources.source import Source
from insightface_cakd.distill.urfm import URFM, TokenGrid, as_tokens
from insightface_cakd.errors import TapError
from insightface_cakd.recipe import TermSpec

Side = Literal["student", "teacher"]
SIDES: tuple[Side, Side] = ("student", "teacher")
_PREFIX = "urfm_"
_ANCHOR = "urfm_anchor"


class ReceptiveFields(Source):
    """Offers what URFM computes from the tokens of both sides.

    That is the local fields (`urfm_fields`), their attention (`urfm_attention`), and the embedding that is read out of the teacher's fields
    (`urfm_anchor`).
    """

    name = "urfm"
    offers = ("urfm_attention", "urfm_fields", _ANCHOR)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        assert setting.recipe.urfm is not None, "checked when the recipe is read"
        self.spec = setting.recipe.urfm
        self.reads_anchor = any(term.reading == _ANCHOR for term in setting.terms)
        self.reads_plain = self.reads_anchor
        self.reads_landmarks = self.spec.landmarks == "batch"
        self.mapping: URFM | None = None

    def student_taps(self) -> Sequence[str]:
        """Return the tap of the student's tokens."""
        return [self.spec.student]

    def teacher_taps(self, name: str) -> Sequence[str]:
        """Return the tap of the teacher's tokens.

        Empty where the recipe names no tap, as for a teacher with prompts, which gives its own tokens; and for all teachers but the first.
        """
        return [self.spec.teacher] if self.spec.teacher is not None and name == self.setting.first else []

    def build(self, blank: Context) -> nn.Module:
        """Return the mapping for both grids."""
        ours, theirs = self.tokens(blank)["student"], self.tokens(blank)["teacher"]
        width = self.setting.teacher.embedding_size if self.reads_anchor else None
        self.mapping = URFM(self.spec, ours[1], theirs[1], ours[0].shape[-1], theirs[0].shape[-1], width)
        return self.mapping

    def forward(self, context: Context) -> dict[str, Tensor]:
        """Return attention and fields of both sides, and the anchor's if read."""
        assert self.mapping is not None
        first = self.setting.first
        tokens = self.tokens(context)
        target = context.plain.get(first, context.teachers[first].embedding)
        found = self.mapping(tokens["student"][0], tokens["teacher"][0], context.landmarks, target)
        return {f"urfm.{key}": value for key, value in found.items()}

    def tokens(self, context: Context) -> dict[Side, tuple[Tensor, TokenGrid]]:
        """Return the tokens of both sides, each with its grid."""
        student = as_tokens(context.student.taps[self.spec.student], self.spec.student_extra, "urfm.student")
        return {"student": student, "teacher": self._teacher_tokens(context.teachers[self.setting.first])}

    def pair(self, term: TermSpec, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return attention, fields or anchor of both sides."""
        kind = term.reading.removeprefix(_PREFIX)
        return features[f"urfm.student.{kind}"], features[f"urfm.teacher.{kind}"]

    def _teacher_tokens(self, seen: Seen) -> tuple[Tensor, TokenGrid]:
        """Return the teacher's tokens: those of the tap, else its own."""
        if self.spec.teacher is not None:
            return as_tokens(seen.taps[self.spec.teacher], self.spec.teacher_extra, "urfm.teacher")
        teacher = self.setting.teacher
        if teacher.shown is not None:
            return teacher.shown
        raise TapError(
            f"urfm.teacher: not set, and teacher {teacher.name} has no prompts; expected a tap of the teacher. Set urfm.teacher "
            "to a module path, or teacher.prompts."
        )


def fields_of(sources: Iterable[Source]) -> ReceptiveFields:
    """Return the source of receptive fields of a run that has one."""
    return next(source for source in sources if isinstance(source, ReceptiveFields))
