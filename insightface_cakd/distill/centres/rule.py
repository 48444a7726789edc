"""Who decides a head's class centres: the optimiser, or what the teacher says."""

from typing import Any

import torch
from torch import Tensor

from insightface_cakd.errors import ShapeError

EPS = 1e-6


class CentreRule:
    """Leaves a head as its host made it: the optimiser learns the class centres."""

    def check(self, width: int, classes: int) -> None:
        """Check that student, teacher and head fit.

        Args:
            width: of the student's embeddings.
            classes: of the training set.

        Raises:
            ShapeError: they do not.
        """

    def begin(self, head: Any, classes: int) -> None:
        """Take over a head that its host has just built.

        Args:
            head: `PartialFC_V2` of a host.
            classes: of all ranks together.
        """

    def before_loss(self, head: Any, features: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Do what a step does before the head computes its logits; return what is to be logged.

        Shape:
            labels: (B,), classes of this rank's images.

        Args:
            head: about to compute the margin loss.
            features: what the student found, `teacher.embedding` and `student.embedding` among them, (B, D).
        """
        return {}

    def check_state(self, head: Any, state: dict[str, Any]) -> None:
        """Refuse a checkpoint that would replace what must stay; called before it is loaded.

        Args:
            head: of the run.
            state: of the host's head.
        """


class TaughtCentres(CentreRule):
    """Takes the class centres from the optimiser.

    The host's parameter stays where it is, in the module, its state and the optimiser's last group, and asks for no gradient: an optimiser
    passes over it, weight decay and momentum included.

    Args:
        teacher_width: of the teacher's embeddings.
    """

    def __init__(self, teacher_width: int) -> None:
        self.teacher_width = teacher_width

    def check(self, width: int, classes: int) -> None:
        """Check that the embeddings of student and teacher are of one width.

        Args:
            width: of the student's embeddings.
            classes: of the training set.

        Raises:
            ShapeError: they are not.
        """
        if self.teacher_width != width:
            raise ShapeError(
                f"head.centres: the student's embeddings have {width} values, the teacher's {self.teacher_width}; expected the same, since "
                f"both are compared with the same centres. Set the config's embedding_size to {self.teacher_width}."
            )

    def begin(self, head: Any, classes: int) -> None:
        """Check the head, and let its centres ask for no gradient."""
        self.check(head.embedding_size, classes)
        head.weight.requires_grad_(False)


def own_rows(head: Any, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return which classes this rank holds, and the row of each, 0 for those of other ranks; nothing waits for the device.

    Shape:
        classes: (N,), global ids. Returns (N,) and (N,).

    Args:
        head: `PartialFC_V2` of a host.
    """
    rows = classes - head.class_start
    mine = (rows >= 0) & (rows < head.num_local)
    return mine, rows.masked_fill(~mine, 0)


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each pair of rows, (N,); 0 for a row of zeros."""
    unit = torch.nn.functional.normalize
    return (unit(first, eps=EPS) * unit(second, eps=EPS)).sum(1)
