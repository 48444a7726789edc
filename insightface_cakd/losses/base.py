"""What every distillation loss is: tensors in, one float32 scalar out."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from insightface_cakd.errors import RecipeError, ShapeError

EPS = 1e-6
Reads = Literal[
    "embedding", "map", "logits", "urfm_attention", "urfm_fields", "urfm_anchor", "prompted", "prompted_logits"
]
# What a term can compare on the classes that the head used in a step.
LOGITS: tuple[Reads, ...] = ("logits", "prompted_logits")


class DistillLoss(nn.Module):
    """A loss of a student's activation against a teacher's; it knows no module, rank, file or weight.

    Subclasses state what they read and implement `compute`, which receives float32 (or float64) tensors, the teacher's detached
    unless they say otherwise.

    Attributes:
        reads: which activation a term gives it.
        gathers: whether it compares images of a batch, so that the rows of all ranks must be gathered first.
        same_shape: whether both sides must agree in shape, so that a term may need a projector.
        detaches_teacher: whether the teacher's side is a constant; not where what it comes from learns by this loss.
        needs_labels: whether it compares identities, and so refuses to run without the label of each row.
        zero_at_teacher: whether it is 0, with gradient 0, where the student equals the teacher; not where it is a likelihood or a margin.
        keeps_state: whether it remembers earlier steps in buffers. In eval mode it uses what it remembers and does not change it.
        needs_prototypes: whether it has a method `start(prototypes, hardest)` that must be called before its first use.
        shows: attributes, scalar tensors of the last batch, that are logged beside the value.
        memory: what grows in a step, for `cakd recipes list`, in the letters of its legend; empty if it is of the size of the inputs.
        paper: source, for `cakd recipes list` and `check`: "METHOD (where), details".
    """

    reads: ClassVar[Reads] = "embedding"
    gathers: ClassVar[bool] = False
    same_shape: ClassVar[bool] = True
    detaches_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    zero_at_teacher: ClassVar[bool] = True
    keeps_state: ClassVar[bool] = False
    needs_prototypes: ClassVar[bool] = False
    shows: ClassVar[tuple[str, ...]] = ()
    memory: ClassVar[str] = ""
    paper: ClassVar[str] = ""

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss in float32 (float64 for float64 inputs), computed outside autocast.

        Raises:
            ShapeError: the two sides cannot be compared, or a loss that needs labels has not one for each row.
        """
        self.check(student, teacher)
        if self.needs_labels:
            self._check_labels(student, labels)
        teacher = teacher.detach() if self.detaches_teacher else teacher
        with torch.autocast(student.device.type, enabled=False):
            return self.compute(precise(student), precise(teacher), labels)

    def check(self, student: Tensor, teacher: Tensor) -> None:
        """Raise a `ShapeError` with both shapes if the two sides do not fit."""
        fits = student.shape == teacher.shape if self.same_shape else student.shape[0] == teacher.shape[0]
        if not fits:
            raise ShapeError(
                f"{type(self).__name__}: student {tuple(student.shape)} vs teacher {tuple(teacher.shape)}; expected "
                f"{'equal shapes' if self.same_shape else 'equal batch sizes'}. Set the term's projector, or choose other taps."
            )

    def _check_labels(self, student: Tensor, labels: Tensor | None) -> None:
        if labels is None or labels.shape != student.shape[:1]:
            given = "none" if labels is None else tuple(labels.shape)
            raise ShapeError(
                f"{type(self).__name__}: labels {given} for {student.shape[0]} rows; expected ({student.shape[0]},). Give the identity of "
                "each row."
            )

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the loss of checked, precise tensors."""
        raise TypeError(f"{type(self).__name__} must define compute")


def precise(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or as it is if it is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def unit(rows: Tensor) -> Tensor:
    """Return rows of length 1; rows shorter than 1e-6 stay short, with a bounded gradient.

    x / max(|x|, 1e-6). The norm's own gradient is 0 at 0.

    Shape:
        rows: (..., D).
    """
    return rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_min(EPS)


def squared_distances(rows: Tensor) -> Tensor:
    """Return the squared distances between all rows, >= 0; differentiable everywhere.

    Shape:
        rows: (B, D). Returns (B, B).
    """
    squares = rows.square().sum(dim=-1)
    return (squares.unsqueeze(0) + squares.unsqueeze(1) - 2 * rows @ rows.T).clamp_min(0)


def masked_mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of the chosen values; a differentiable 0 when none is chosen. The device is not waited for.

    Shape:
        values, chosen: equal; chosen is boolean.
    """
    return torch.where(chosen, values, 0.0).sum() / chosen.sum().clamp_min(1)


def check_option(where: str, value: object, good: bool, expected: str) -> None:
    """Refuse a constructor argument that cannot be meant.

    Args:
        where: loss and option.
        value: what was given.
        good: whether it will do.
        expected: what would, and what is usual.

    Raises:
        RecipeError: it will not do.
    """
    if not good:
        raise RecipeError(f"{where} is {value!r}; expected {expected}.")


def is_number(value: object) -> bool:
    """Return whether a value is a finite number, and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object) -> bool:
    """Return whether a value is an integer, and not a truth value."""
    return isinstance(value, int) and not isinstance(value, bool)
