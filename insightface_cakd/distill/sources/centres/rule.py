"""Base class of rules for class centres from the teacher."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from insightface_cakd.distill.sources.centres.margins import ArcGradient
from insightface_cakd.distill.sources.context import Setting
from insightface_cakd.distill.sources.source import Source
from insightface_cakd.errors import ShapeError

EPS = 1e-6


class CentreRule(Source):
    """Takes the class centres from the optimiser; offers nothing to terms.

    The host's parameter stays where it is, in the module, its state and the optimiser's last group, and requires no gradient: an optimiser
    skips it, weight decay and momentum included.

    Attributes:
        rule: `centres` and `margin` of the recipe's part `head` for which it takes part.
    """

    rule: ClassVar[tuple[str, str]]

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        assert setting.recipe.head is not None, "checked by `takes_part`"
        self.spec = setting.recipe.head

    @classmethod
    def takes_part(cls, setting: Setting) -> bool:
        """Return whether the recipe's part `head` names this rule."""
        head = setting.recipe.head
        # AdaFace's margin is put in by a source of its own, and goes with any centres.
        margin = "host" if head is not None and head.margin == "adaface" else head and head.margin
        return head is not None and (head.centres, margin) == cls.rule

    def check(self, width: int, classes: int) -> None:
        """Check that the embeddings of student and teacher are of one width."""
        teacher_width = self.setting.teacher.embedding_size
        if teacher_width != width:
            raise ShapeError(
                f"head.centres: the student's embeddings have {width} values, the teacher's {teacher_width}; expected the same, since "
                f"both are compared with the same centres. Set the config's embedding_size to {teacher_width}."
            )

    def begin(self, head: Any, classes: int) -> None:
        """Check a newly built head, freeze its class centres, set its margin."""
        self.check(head.embedding_size, classes)
        head.weight.requires_grad_(False)
        self.set_margin(head)

    def set_margin(self, head: Any) -> None:
        """Give the host's margin the gradient that the recipe asks for."""
        if self.spec.gradient == "arc":
            head.margin_softmax = ArcGradient(head.margin_softmax)

    def taught(self, features: dict[str, Tensor]) -> Tensor:
        """Return the first teacher's embeddings, (B, D), float32."""
        return features[f"{self.setting.first}.embedding"].float()


def own_rows(head: Any, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return which classes this rank has, and the row of each.

    The row is 0 for classes of other ranks. The device is not waited for.

    Shape:
        classes: (N,), global ids. Returns (N,) and (N,).
    """
    rows = classes - head.class_start
    mine = (rows >= 0) & (rows < head.num_local)
    return mine, rows.masked_fill(~mine, 0)


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each pair of rows; 0 for zeros."""
    unit = torch.nn.functional.normalize
    return (unit(first, eps=EPS) * unit(second, eps=EPS)).sum(1)
