"""Unified receptive fields as a source."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from insightface_cakd.distill.sources.context import Batch, Context, Seen, Setting
from insightface_cakd.distill.sources.nested import require_stateless
from insightface_cakd.distill.sources.source import Source
from insightface_cakd.distill.urfm import URFM, TokenGrid, as_tokens
from insightface_cakd.errors import TapError
from insightface_cakd.losses import DistillLoss
from insightface_cakd.recipe import TermSpec
from insightface_cakd.recipe.urfm import FIRST

Side = Literal["student", "teacher"]
SIDES: tuple[Side, Side] = ("student", "teacher")
_PREFIX = "urfm_"
_ANCHOR = "urfm_anchor"


class ReceptiveFields(Source):
    """Offers what URFM computes from the tokens of both sides.

    That is the local fields (`urfm_fields`), their attention (`urfm_attention`), and the embedding that is read out of the teacher's fields
    (`urfm_anchor`). Each pair of taps has a mapping of its own, and a term is the mean over the pairs.
    """

    name = FIRST
    offers = ("urfm_attention", "urfm_fields", _ANCHOR)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        assert setting.recipe.urfm is not None, "checked when the recipe is read"
        self.spec = setting.recipe.urfm
        self.reads_anchor = any(term.reading == _ANCHOR for term in setting.terms)
        self.reads_plain = self.reads_anchor
        self.reads_landmarks = self.spec.landmarks == "batch"
        self.mappings: dict[str, URFM] = {}

    def student_taps(self) -> Sequence[str]:
        """Return the taps of the student's tokens."""
        return [pair.student for pair in self.spec.pairs.values()]

    def teacher_taps(self, name: str) -> Sequence[str]:
        """Return the taps of the teacher's tokens.

        None for a pair that names no tap, as for a teacher with prompts, which gives its own tokens; and for all teachers but the first.
        """
        if name != self.setting.first:
            return []
        return [pair.teacher for pair in self.spec.pairs.values() if pair.teacher is not None]

    def build(self, blank: Context) -> nn.Module:
        """Return the first pair's mapping, with those of the others inside.

        So the first one's keys in checkpoints do not depend on the others.
        """
        if self.spec.more:
            for term in self.setting.terms:
                where = f"term '{term.name}' with urfm.more"
                require_stateless(term, where, "pair", "Use another loss, or remove urfm.more.")
        size = self.setting.teacher.embedding_size if self.reads_anchor else None
        for place in self.spec.pairs:
            tokens = self.tokens(blank, place)
            (ours, ours_grid), (theirs, theirs_grid) = tokens["student"], tokens["teacher"]
            widths = (ours.shape[-1], theirs.shape[-1])
            self.mappings[place] = URFM(self.spec, ours_grid, theirs_grid, *widths, size, place)
        first, *more = self.mappings.values()
        first.add_module("more", nn.ModuleList(more))
        return first

    def forward(self, context: Context) -> dict[str, Tensor]:
        """Return attention and fields of both sides, and the anchor's if read.

        Of every pair, by where it stands in the recipe.
        """
        first = self.setting.first
        target = context.plain.get(first, context.teachers[first].embedding)
        features: dict[str, Tensor] = {}
        for place, mapping in self.mappings.items():
            tokens = self.tokens(context, place)
            found = mapping(tokens["student"][0], tokens["teacher"][0], context.landmarks, target)
            features |= {f"{place}.{key}": value for key, value in found.items()}
        return features

    def tokens(self, context: Context, place: str = FIRST) -> dict[Side, tuple[Tensor, TokenGrid]]:
        """Return the tokens of a pair's sides, each with its grid."""
        pair = self.spec.pairs[place]
        student = as_tokens(context.student.taps[pair.student], pair.student_extra, f"{place}.student")
        return {"student": student, "teacher": self._teacher_tokens(context.teachers[self.setting.first], place)}

    def pair(self, term: TermSpec, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return attention, fields or anchor of both sides of the first pair."""
        kind = term.reading.removeprefix(_PREFIX)
        return features[f"{FIRST}.student.{kind}"], features[f"{FIRST}.teacher.{kind}"]

    def run(self, loss: DistillLoss, term: TermSpec, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return a term's value, the mean over the pairs of taps."""
        if not self.spec.more:
            return super().run(loss, term, features, batch)
        values = []
        for place in self.spec.pairs:
            values.append(super().run(loss, term, _as_first(features, place), batch))
        return torch.stack(values).mean()

    def _teacher_tokens(self, seen: Seen, place: str) -> tuple[Tensor, TokenGrid]:
        """Return the teacher's tokens: those of the tap, else its own."""
        pair, teacher = self.spec.pairs[place], self.setting.teacher
        if pair.teacher is not None:
            return as_tokens(seen.taps[pair.teacher], pair.teacher_extra, f"{place}.teacher")
        if teacher.shown is not None:
            return teacher.shown
        raise TapError(
            f"urfm.teacher: not set, and teacher {teacher.name} has no prompts; expected a tap of the teacher. Set urfm.teacher "
            "to a module path, or teacher.prompts."
        )


def _as_first(features: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """Return a pair's features by the names of the first pair's."""
    return {FIRST + key.removeprefix(place): value for key, value in features.items() if key.startswith(f"{place}.")}


def fields_of(sources: Iterable[Source]) -> ReceptiveFields:
    """Return the source of receptive fields of a run that has one."""
    return next(source for source in sources if isinstance(source, ReceptiveFields))
