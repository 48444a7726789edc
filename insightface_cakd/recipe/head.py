"""The part of a recipe about the head's class centres and margin."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from insightface_cakd.errors import RecipeError

M_MIN, M_MAX = 0.2, 0.5
# AdaFace's m and h.
STRENGTH, CONCENTRATION = 0.4, 0.333
# Which part must have which value for a key to be read.
READ_WITH = {
    "m_min": ("margin", "quality"),
    "m_max": ("margin", "quality"),
    "m": ("margin", "adaface"),
    "h": ("margin", "adaface"),
    "alpha": ("centres", "average"),
    "geometry": ("centres", "average"),
}
SUMMARIES = {
    ("teacher", "host"): "the teacher's class centres, frozen",
    ("teacher", "quality"): "the teacher's class centres, frozen, margin by quality",
    ("average", "host"): "class centres that follow the teacher's embeddings",
    ("average", "adaface"): "class centres that follow the teacher's embeddings, margin by norm",
    ("teacher", "adaface"): "the teacher's class centres, frozen, margin by norm",
    ("learnt", "adaface"): "margin by norm",
}
PAPERS = {
    ("teacher", "host"): "ProxylessKD (2011.00265), ArcDistill; arc margin 0.45 or 0.5, s = 64",
    ("teacher", "quality"): "MarginDistillation (2003.02586), margins 0.2 to 0.5, s = 64",
    ("average", "host"): "AdaDistill (2407.01332), arc margin 0.45 or cos margin 0.35, s = 64",
    ("average", "adaface"): "AdaDistill (2407.01332), AdaFace margin of 2204.00964, m = 0.4, h = 0.333, s = 64",
    ("teacher", "adaface"): "ProxylessKD (2011.00265), AdaFace margin of 2204.00964, m = 0.4, h = 0.333, s = 64",
    ("learnt", "adaface"): "AdaFace (2204.00964), m = 0.4, h = 0.333, s = 64",
}


class HeadSpec(BaseModel):
    """Where the class centres of the student's head come from.

    The optimiser no longer touches them, unless they are `learnt`.

    Args:
        centres: `teacher`, the rows of the teacher's own head, which stay as they are; `average`, the host's initial rows, which follow the
            teacher's embeddings; `learnt`, those of the host as always, with a margin other than the host's.
        margin: `host`, the config's `margin_list`; `quality`, an arc margin of each image's own, larger the nearer the teacher puts it to
            its class, with centres of the teacher only; `adaface`, larger for embeddings of large norm.
        m_min: the margin at cosine 0 or less, in radians; 0.2 when not given. With `margin: quality` only.
        m_max: the margin of the batch's best image, in radians; 0.5 when not given. With `margin: quality` only.
        m: strength of AdaFace's margin; 0.4 when not given. With `margin: adaface` only.
        h: how much of the deviation of the norms counts; 0.333 when not given. With `margin: adaface` only.
        alpha: how much of a centre stays: `both`, cosine of student and teacher times cosine of centre and teacher; `simple`, the first
            factor alone. `both` when not given. With `centres: average` only.
        geometry: weight of a further margin, by how much nearer to the centre the teacher is than the student; none when not given, 1 in
            its source. With `centres: average` only.
        gradient: of an arc margin, with frozen or moving centres: `host`, straight through, d logit / d cos = s, as arcface_torch has it;
            `arc`, that of the equation in the papers, s sin(theta + m) / sin theta. AdaFace's margin always has its equation's.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    centres: Literal["teacher", "average", "learnt"]
    margin: Literal["host", "quality", "adaface"] = "host"
    m_min: float | None = Field(default=None, ge=0, lt=math.pi)
    m_max: float | None = Field(default=None, ge=0, lt=math.pi)
    m: float | None = Field(default=None, gt=0, le=1)
    h: float | None = Field(default=None, gt=0, le=10)
    alpha: Literal["both", "simple"] | None = None
    geometry: float | None = Field(default=None, gt=0, le=10)
    gradient: Literal["host", "arc"] = "host"

    @model_validator(mode="after")
    def check(self) -> "HeadSpec":
        """Return the spec, defaults filled in, if its values fit each other."""
        if self.margin == "quality" and self.centres != "teacher":
            raise RecipeError(
                f"head.margin: quality with centres: {self.centres}; the margin measures how near an image is to the teacher's centre. Set "
                "head.centres: teacher."
            )
        for key, (part, value) in READ_WITH.items():
            if getattr(self, key) is not None and getattr(self, part) != value:
                raise RecipeError(f"head.{key}: is read with {part}: {value} only. Set head.{part}, or remove it.")
        if self.margin == "adaface":
            self.m, self.h = self.strength, self.concentration
        if self.centres == "learnt" and self.margin == "host":
            raise RecipeError(
                "head.centres: learnt with margin: host is the host's own head; expected margin: adaface. Remove `head`, or set its margin."
            )
        if self.margin == "adaface" and self.gradient == "arc":
            raise RecipeError(
                "head.gradient: arc with margin: adaface, whose gradient is its equation's already. Remove it."
            )
        if self.margin == "quality":
            self.m_min, self.m_max = self.margins
            if self.m_min > self.m_max:
                raise RecipeError(
                    f"head.m_min: {self.m_min:g} exceeds head.m_max {self.m_max:g}; expected a range. Swap them."
                )
        if self.centres == "average":
            self.alpha = self.alpha or "both"
        return self

    @property
    def margins(self) -> tuple[float, float]:
        """Smallest and largest margin, in radians."""
        return M_MIN if self.m_min is None else self.m_min, M_MAX if self.m_max is None else self.m_max

    @property
    def strength(self) -> float:
        """AdaFace's m."""
        return STRENGTH if self.m is None else self.m

    @property
    def concentration(self) -> float:
        """AdaFace's h."""
        return CONCENTRATION if self.h is None else self.h

    @property
    def reads_embedding(self) -> bool:
        """Whether a step needs the teacher's embeddings of its images."""
        return self.centres == "average" or self.margin == "quality"

    @property
    def summary(self) -> str:
        """Summary for lists."""
        return SUMMARIES[self.centres, self.margin]

    @property
    def paper(self) -> str:
        """Source, for `cakd recipes check`."""
        return PAPERS[self.centres, self.margin]
