"""Logits against the teacher's class centres, of any activation."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.functional import normalize

from insightface_cakd.distill.projectors import Shape, build_projector
from insightface_cakd.distill.sources.context import Context, Setting
from insightface_cakd.distill.sources.source import Source
from insightface_cakd.errors import ShapeError
from insightface_cakd.recipe import TermSpec

# The scale of both hosts' heads.
SCALE = 64.0


class CentreLogits(Source):
    """Offers `centre_logits`: both sides' cosines to the teacher's class centres, scaled.

    a^S_ij = 64 cos(K^S_i, w_j), a^T_ij = 64 cos(f^T_i, w_j), w_j the teacher's centre of class j; K^S the student's embedding or tapped
    layer, through the term's projector. No head of the student takes part, so that a student without classes (landmarks, triplets) can be
    taught by class probabilities. The images need not be of these classes.

    Shape:
        (B, C) of this rank's images, every class on every rank.
    Source:
        Wang, Lan, Zhang 2017 (1709.02929), targets of the transfer; frozen centres of the teacher in place of a classifier of the student
        are an assumption.
    """

    name = "centre_projectors"
    offers = ("centre_logits",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.centres = normalize(setting.load_centres().rows(), eps=1e-6)

    def build(self, blank: Context) -> nn.Module:
        """Return the projectors of the terms that name one.

        Shapes are checked: what meets the centres has their width.
        """
        width = self.centres.shape[1]
        self.projectors = nn.ModuleDict()
        for term in self.setting.terms:
            where = f"term '{term.name}'"
            ours: Shape = tuple(blank.student.read(term.student).shape[1:])
            theirs: Shape = tuple(blank.teachers[self.whose(term)].embedding.shape[1:])
            if theirs != (width,):
                raise ShapeError(
                    f"{where}: teacher centres (classes, {width}) do not fit a teacher of width {theirs[0]}; expected rows of that many "
                    "values. Set teacher.centres to the head of this teacher."
                )
            if term.projector is not None:
                self.projectors[term.name] = build_projector(term.projector, ours, theirs, where)
            elif ours != theirs:
                kind = "linear" if len(ours) == 1 else "map_to_embedding"
                raise ShapeError(
                    f"{where}: student {ours} has no cosine to class centres {theirs}; expected equal widths. Set projector: {kind}."
                )
        return self.projectors

    def forward(self, context: Context) -> dict[str, Tensor]:
        """Return each term's logits of both sides."""
        found: dict[str, Tensor] = {}
        for term in self.setting.terms:
            ours = context.student.read(term.student)
            if term.name in self.projectors:
                ours = self.projectors[term.name](ours.float())
            found[f"{term.name}.student"] = self._logits(ours)
            whose = self.whose(term)
            if f"{whose}.centre_logits" not in found:
                found[f"{whose}.centre_logits"] = self._logits(context.teachers[whose].embedding.detach())
        return found

    def pair(self, term: TermSpec, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return both sides' logits of a term."""
        return features[f"{term.name}.student"], features[f"{self.whose(term)}.centre_logits"]

    def _logits(self, rows: Tensor) -> Tensor:
        self.centres = self.centres.to(rows.device)
        return SCALE * normalize(rows.float(), eps=1e-6) @ self.centres.T
