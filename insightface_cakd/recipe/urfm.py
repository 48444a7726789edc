"""The part of a recipe about the unified receptive fields."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from insightface_cakd.errors import RecipeError

# Where the first pair of taps stands in a recipe.
FIRST = "urfm"


class PairSpec(BaseModel):
    """A further pair of taps, with a mapping of its own.

    Args:
        student: module path of the student's tap, a map or tokens.
        teacher: module path of the teacher's tap.
        student_extra: tokens at the student's tap that stand before its patches and have no place on the face (a class token).
        teacher_extra: the same at the teacher's tap.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    student: str
    teacher: str
    student_extra: int = Field(default=0, ge=0, le=4096)
    teacher_extra: int = Field(default=0, ge=0, le=4096)


class URFMSpec(BaseModel):
    """Which activations are mapped onto the local fields, and how.

    The formulas of the paper (arXiv 2306.14662) that are known leave these choices open; the first value of each is the default.

    Args:
        student: module path of the student's tap, a map or tokens.
        teacher: module path of the teacher's tap; the tokens of a prompted teacher when not given.
        student_extra: tokens at the student's tap that stand before its patches and have no place on the face (a class token).
        teacher_extra: the same at the teacher's tap.
        more: further pairs of taps. Each has a mapping of its own, by the other keys of this part; a term is the mean over all pairs.
        centres: number L of local centres, at most 4096, whose attention grows with the square; a square number with `bias: query`.
        width: of fields and centres, at most 16384, where one matrix takes 1 GiB.
        mapping_heads: heads of the attention by which centres look at tokens; a divisor of the width.
        heads: heads of the self-attention over the fields; a divisor of the width.
        bias: where the positional vectors are added: to the keys of the tokens, so that a centre can look at places; to the queries of
            the centres, which then lie on a sqrt(L) x sqrt(L) grid over the face (the known text to the letter: it says nothing of
            where tokens lie, and student and teacher end up looking elsewhere); or nowhere.
        structure: the facial structure distance: saliency (difference of the distances to the nearest landmark) and relative (of the
            distances to all five): the mean of the two (both), one, or none.
        landmarks: whose landmarks the structure distance and the nose are of: the alignment template's, or those of each image, where
            the host's batches have them (batch; the embedded host reads `landmarks.npy` beside the records).
        gamma: factor of the structure distance, which is added to the distance in space.
        origin: the point that distances are measured to: tip of the nose, or centre of the image.
        cell: pixels of a 112x112 image that count as distance 1; 16 is a cell of a 7x7 grid.
        alpha: the distance up to which every whole one has a bucket of its own (iRPE).
        beta: the last bucket; there are floor(beta) + 1 (iRPE).
        reach: the distance from which on all share the last bucket; between alpha and it buckets grow logarithmically.
        spread: standard deviation of the initial centres and positional vectors; at 0.02 all centres look at everything alike.
        shared: what both sides share beside their own input projections: centres, buckets, all weights and the self-attention; all
            of these but keys and values (`centres`); nothing.
        attention: which map the attention loss compares: that of the self-attention over the fields (msa); or that of the centres over
            the patches (urfm), laid onto the coarser of the two grids, without what goes to prompts and class tokens.
        normalise: what becomes of tokens before centres look at them. Mean 0 and variance 1 of each channel of each token over the
            images (images, see `Standardised`); of each token over its channels (tokens); nothing (none), the literal reading, where
            the scales of the two networks decide how sharp the maps are. Unless none, what centres saw and the fields have mean 0
            and variance 1 over their width.
        stop_gradient: what the attention and feature losses leave alone: every parameter that makes the teacher's fields
            (mapping); the teacher's fields, though parameters that are shared still learn from the student's side (teacher); nothing
            (none).
        prompt_gradient: factor, 0 to 1, of what these losses send back through the teacher's tokens to its prompts, with
            `stop_gradient: mapping`; less keeps the teacher nearer to what it was. The anchor always sends all.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    student: str
    teacher: str | None = None
    student_extra: int = Field(default=0, ge=0, le=4096)
    teacher_extra: int = Field(default=0, ge=0, le=4096)
    more: list[PairSpec] = Field(default_factory=list)
    centres: int = Field(default=49, gt=0, le=4096)
    width: int = Field(default=512, gt=0, le=16384)
    mapping_heads: int = Field(default=1, gt=0)
    heads: int = Field(default=8, gt=0)
    bias: Literal["key", "query", "none"] = "key"
    structure: Literal["both", "saliency", "relative", "none"] = "both"
    landmarks: Literal["template", "batch"] = "template"
    gamma: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    origin: Literal["nose", "centre"] = "nose"
    cell: float = Field(default=16.0, gt=0, allow_inf_nan=False)
    alpha: float = Field(default=1.9, gt=0, allow_inf_nan=False)
    beta: float = Field(default=3.8, gt=0, le=4096, allow_inf_nan=False)
    reach: float = Field(default=15.2, gt=0, allow_inf_nan=False)
    spread: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    shared: Literal["all", "centres", "none"] = "all"
    attention: Literal["msa", "urfm"] = "msa"
    normalise: Literal["images", "tokens", "none"] = "images"
    stop_gradient: Literal["mapping", "teacher", "none"] = "mapping"
    prompt_gradient: float = Field(default=1.0, ge=0, le=1)

    @property
    def buckets(self) -> int:
        """Return the number of buckets that distances fall into."""
        return int(self.beta) + 1

    @property
    def pairs(self) -> "dict[str, URFMSpec | PairSpec]":
        """Every pair of taps, by where it stands in the recipe."""
        return {FIRST: self, **{f"{FIRST}.more[{number}]": pair for number, pair in enumerate(self.more)}}

    @model_validator(mode="after")
    def check(self) -> "URFMSpec":
        """Return the spec if its values fit each other."""
        for name in ("heads", "mapping_heads"):
            if self.width % getattr(self, name):
                raise RecipeError(
                    f"urfm.{name}: width {self.width} cannot be divided by {getattr(self, name)} heads; expected a divisor. Change "
                    f"urfm.{name} or urfm.width."
                )
        side = math.isqrt(self.centres)
        if self.bias == "query" and side**2 != self.centres:
            raise RecipeError(
                f"urfm.centres: {self.centres} centres lie on no square grid; expected a square number with bias: query. Set {side**2} "
                f"or {(side + 1) ** 2}, or bias: key."
            )
        if not self.alpha < self.beta or not self.alpha < self.reach:
            raise RecipeError(
                f"urfm.alpha: {self.alpha} with beta {self.beta} and reach {self.reach}; expected it below both. The usual values are "
                "1.9, 3.8 and 15.2."
            )
        self._check_pairs()
        return self

    def _check_pairs(self) -> None:
        """Refuse a pair that is there twice, which would count double."""
        seen: dict[tuple[str, str | None], str] = {}
        for place, pair in self.pairs.items():
            earlier = seen.setdefault((pair.student, pair.teacher), place)
            if earlier != place:
                raise RecipeError(
                    f"{place}: student {pair.student} and teacher {pair.teacher} are already the pair of {earlier}; expected each pair "
                    "once. Remove one of them, or tap another layer."
                )
