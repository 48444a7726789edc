"""Base class of rules for class centres from the teacher."""

from typing import Any

import torch
from torch import Tensor

from insightface_cakd.errors import ShapeError

EPS = 1e-6


class CentreRule:
    """Takes the class centres from the optimiser.

    The host's parameter stays where it is, in the module, its state and the optimiser's last group, and requires no gradient: an optimiser
    skips it, weight decay and momentum included.

    Args:
        teacher_width: of the teacher's embeddings.
    """

    def __init__(self, teacher_width: int) -> None:
        self.teacher_width = teacher_width

    def check(self, width: int, classes: int) -> None:
        """Check that the embeddings of student and teacher are of one width."""
        if self.teacher_width != width:
            raise ShapeError(
                f"head.centres: the student's embeddings have {width} values, the teacher's {self.teacher_width}; expected the same, since "
                f"both are compared with the same centres. Set the config's embedding_size to {self.teacher_width}."
            )

    def begin(self, head: Any, classes: int) -> None:
        """Check a newly built head, and freeze its class centres.

        Args:
            head: `PartialFC_V2` of a host.
        """
        self.check(head.embedding_size, classes)
        head.weight.requires_grad_(False)

    def before_loss(self, head: Any, features: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Update the rule before the head computes its logits.

        Returns values to be logged, by name.

        Shape:
            labels: (B,), classes of this rank's images.

        Args:
            features: of the student's forward, with `teacher.embedding` and `student.embedding`, (B, D).
        """
        return {}

    def check_state(self, head: Any, state: dict[str, Any]) -> None:
        """Refuse a checkpoint that would replace rows that must stay.

        Called before the checkpoint is loaded.
        """


def own_rows(head: Any, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return which classes this rank has, and the row of each.

    The row is 0 for classes of other ranks. The device is not waited for.

    Shape:
        classes: (N,), global ids. Returns (N,) and (N,).

    Args:
        head: `PartialFC_V2` of a host.
    """
    rows = classes - head.class_start
    mine = (rows >= 0) & (rows < head.num_local)
    return mine, rows.masked_fill(~mine, 0)


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each pair of rows.

    Shape:
        first, second: (N, D). Returns (N,); 0 for a row of zeros.
    """
    unit = torch.nn.functional.normalize
    return (unit(first, eps=EPS) * unit(second, eps=EPS)).sum(1)
