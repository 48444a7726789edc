"""The mapping of student and teacher onto the same local fields."""

import math
import warnings

import torch
from torch import Tensor, nn
from torch.func import functional_call

from insightface_cakd.distill.urfm.common_grid import common_grid, patch_attention, regrid
from insightface_cakd.distill.urfm.fields import Fields, LocalFields, Side
from insightface_cakd.distill.urfm.positions import bucket_table, check_landmarks, template
from insightface_cakd.distill.urfm.standard import Standardised
from insightface_cakd.errors import ShapeError
from insightface_cakd.losses.base import precise
from insightface_cakd.networks.token_grid import TokenGrid
from insightface_cakd.recipe.urfm import FIRST, URFMSpec
from insightface_cakd.teachers.prompts.damped import damped


class _ReadOut(nn.Module):
    def __init__(self, centres: int, width: int, embedding_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((centres, width), 1 / centres))
        self.embedding = nn.Linear(width, embedding_size, bias=False)

    def forward(self, fields: Tensor) -> Tensor:
        """Return sum_i w_i * h_i behind a linear layer.

        (B, L, d) -> (B, D). Without bias, so that a constant carries no information.
        """
        return self.embedding((fields * self.weight).sum(dim=1))


class URFM(nn.Module):
    """Unified receptive fields mapping (URFM).

    L learnable centres attend over the tokens of either side (see `LocalFields`).

    The attention and feature losses alone are lowest where every image has the same fields. tests/distill/urfm/test_collapse.py
    shows three ways to such a collapse, and the variance of the fields over the images falling along each: no gradient is stopped; a
    stop-gradient at the teacher's fields, for with shared weights what the student cannot predict is unlearnt on both sides; prompts that
    draw all attention to themselves. An anchor alone does not help, since it is content with a small variance. What prevents it, together:

    - `stop_gradient: mapping`: the two losses reach the student, its own projection and the teacher's prompts, and no parameter that
      makes the target;
    - the anchor, by which those learn: a linear read-out of the teacher's fields must have the direction of the teacher's embedding;
    - `normalise: images`: what all images share is taken out of the tokens, so that no token can draw attention to a constant; and
      fields have variance 1 over their width, so that weight decay cannot shrink both sides.

    All is float32, computed outside autocast. More centres than patches on a side, or a mapping that nothing trains, is a warning, once,
    when it is built.

    Args:
        embedding_size: D of the teacher's embedding, if a term reads the anchor; without it no read-out is built.
        place: of its pair of taps in the recipe, for errors.

    Source:
        Zhao et al., CAKD, ACM MM 2023 (2306.14662). Details inferred; each is a key of `URFMSpec`.
    """

    def __init__(
        self,
        spec: URFMSpec,
        student: TokenGrid,
        teacher: TokenGrid,
        student_width: int,
        teacher_width: int,
        embedding_size: int | None = None,
        place: str = FIRST,
    ) -> None:
        super().__init__()
        fewest = min(student.rows * student.columns, teacher.rows * teacher.columns)
        if spec.centres > fewest:
            warnings.warn(
                f"urfm.centres: {spec.centres} centres for a grid of {fewest} patches (student {student}, teacher {teacher}); they will "
                "share patches. Fewer centres cost less.",
                stacklevel=2,
            )
        self.spec = spec
        self.place = place
        self.grids: dict[Side, TokenGrid] = {"student": student, "teacher": teacher}
        self.widths: dict[Side, int] = {"student": student_width, "teacher": teacher_width}
        self.local = LocalFields(spec, student_width, teacher_width)
        self.scaled = nn.ModuleDict({side: self._build_norm(side) for side in self.grids})
        self.readout = None if embedding_size is None else _ReadOut(spec.centres, spec.width, embedding_size)
        for side in self.grids:
            # Constants of the recipe: built once, on the module's device, and in no checkpoint.
            table = None if spec.bias == "none" else bucket_table(self._placed(side), template(), spec)
            self.register_buffer(f"{side}_buckets", table, persistent=False)
            self.register_buffer(
                f"{side}_regrid", regrid(self.grids[side], common_grid(student, teacher)), persistent=False
            )
        if spec.stop_gradient == "mapping" and embedding_size is None:
            warnings.warn(
                "urfm: nothing trains centres and weights of the mapping, since stop_gradient is mapping and no term reads the anchor; "
                "they stay random. Add a term `loss: urfm_anchor`, or set stop_gradient: none.",
                stacklevel=2,
            )

    def forward(
        self,
        student_tokens: Tensor,
        teacher_tokens: Tensor,
        landmarks: Tensor | None = None,
        embedding: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return attention and fields of both sides.

        With a read-out also student.anchor, the embedding read out of the teacher's fields, and teacher.anchor, the teacher's embedding,
        both (B, D).

        Shape:
            student_tokens: (B, N_S, student_width), as `as_tokens` gives them. teacher_tokens: (B, N_T, teacher_width).
            landmarks: (B, 5, 2), pixels of the 112x112 image; those of the alignment template when not given.
            embedding: (B, D), the teacher's; needed by a read-out only.
            Returns student.attention, teacher.attention: (B, heads, L, L), or (B, mapping heads, L, patches of the coarser grid) with
            `attention: urfm`; student.fields, teacher.fields: (B, L, d).
        """
        if landmarks is not None:
            check_landmarks(landmarks, student_tokens.shape[0])
        with torch.autocast(student_tokens.device.type, enabled=False):
            student, teacher = self._tokens("student", student_tokens), self._tokens("teacher", teacher_tokens)
            ours = self._run("student", student, landmarks, held=self.spec.stop_gradient == "mapping")
            theirs, told = self._teach(teacher, landmarks)
            outputs = {
                "student.attention": self._compared("student", ours),
                "teacher.attention": self._compared("teacher", theirs),
                "student.fields": ours.values,
                "teacher.fields": theirs.values,
            }
            return outputs | self._anchor(told, embedding)

    @torch.no_grad()
    def looks(self, tokens: Tensor, side: Side, landmarks: Tensor | None = None) -> Tensor:
        """Return each centre's attention over the tokens of one side.

        Shape:
            tokens: (B, N, C), of that side. landmarks: as for `forward`. Returns (B, mapping heads, L, N); rows sum to 1.
        """
        if landmarks is not None:
            check_landmarks(landmarks, tokens.shape[0])
        with torch.autocast(tokens.device.type, enabled=False):
            return self._run(side, self._tokens(side, tokens), landmarks).looks

    def _tokens(self, side: Side, tokens: Tensor) -> Tensor:
        """Return a side's tokens, checked and normalised."""
        expected = (self.grids[side].count, self.widths[side])
        if tuple(tokens.shape[1:]) != expected:
            raise ShapeError(
                f"{self.place}.{side}: tokens {tuple(tokens.shape)}; expected (B, {expected[0]}, {expected[1]}), a grid of "
                f"{self.grids[side]}. The network gives another grid than when the mapping was built: keep the size of the images."
            )
        return self.scaled[side](precise(tokens))

    def _teach(self, tokens: Tensor, landmarks: Tensor | None) -> tuple[Fields, Tensor]:
        """Return the target of the losses, and the fields to read out."""
        live = self._run("teacher", tokens, landmarks)
        if self.spec.stop_gradient == "none":
            return live, live.values
        share = self.spec.prompt_gradient if self.spec.stop_gradient == "mapping" else 0.0
        if share == 0 or not tokens.requires_grad or not torch.is_grad_enabled():
            return Fields(*(x.detach() for x in live)), live.values
        # Prompts learn from the losses through a mapping whose parameters get no gradient.
        return self._run("teacher", damped(tokens, share), landmarks, held=True), live.values

    def _build_norm(self, side: Side) -> nn.Module:
        if self.spec.normalise == "images":
            return Standardised(self.grids[side].count, self.widths[side])
        if self.spec.normalise == "tokens":
            return nn.LayerNorm(self.widths[side], elementwise_affine=False)
        return nn.Identity()

    def _run(self, side: Side, tokens: Tensor, landmarks: Tensor | None, held: bool = False) -> Fields:
        """Map one side.

        With `held`, no gradient reaches the parameters that make the teacher's fields.
        """
        buckets = getattr(self, f"{side}_buckets")
        if landmarks is not None and buckets is not None:
            buckets = bucket_table(self._placed(side), precise(landmarks.to(tokens.device)), self.spec)
        inputs = (tokens, side, buckets)
        if not held:
            return self.local(*inputs)
        # Those shared with the student are among them.
        teachers = {name: value.detach() for name, value in self.local.named_parameters() if ".student." not in name}
        return functional_call(self.local, teachers, inputs)

    def _anchor(self, told: Tensor, embedding: Tensor | None) -> dict[str, Tensor]:
        if self.readout is None:
            return {}
        if embedding is None:
            raise ShapeError("urfm: no embedding of the teacher for the anchor; expected (B, D). Pass `embedding`.")
        return {"student.anchor": self.readout(told), "teacher.anchor": precise(embedding).detach()}

    def _compared(self, side: Side, fields: Fields) -> Tensor:
        if self.spec.attention == "msa":
            return fields.attention
        return patch_attention(fields.looks, self.grids[side], getattr(self, f"{side}_regrid"))

    def _placed(self, side: Side) -> TokenGrid:
        """Return the grid whose places have buckets.

        With a bias on the query side that is the grid of the centres, else that of the side's tokens.
        """
        root = math.isqrt(self.spec.centres)
        return TokenGrid(root, root) if self.spec.bias == "query" else self.grids[side]
