"""What every distillation loss is: tensors in, one float32 scalar out."""

from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.errors import ShapeError
from insightface_cakd.losses.facts import LossFacts
from insightface_cakd.losses.options import checked

EPS = 1e-6


class DistillLoss(LossFacts, nn.Module):
    """A loss of a student's activation against a teacher's.

    It knows no module, rank, file or weight. Subclasses state facts (`LossFacts`), and implement `compute`, which receives float32 (or
    float64) tensors of at least one row, the teacher's detached unless they say otherwise. The annotations of a constructor's
    arguments say what values they take; they are checked before it runs.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss in float32 (float64 for float64 inputs), computed outside autocast.

        No image gives a differentiable 0.

        Shape:
            student, teacher: (B, ...). labels: (B,), identities.

        Raises:
            ShapeError: the two sides cannot be compared, or a loss that needs labels has not one for each row.
        """
        self.check(student, teacher)
        if self.needs_labels:
            self._check_labels(student, labels)
        if student.shape[0] == 0:
            return precise(student).sum() * 0
        teacher = teacher.detach() if self.detaches_teacher else teacher
        with torch.autocast(student.device.type, enabled=False):
            return self.compute(precise(student), precise(teacher), labels)

    def check(self, student: Tensor, teacher: Tensor) -> None:
        """Refuse two sides that do not fit.

        Shape:
            student, teacher: (B, ...).

        Raises:
            ShapeError: the shapes, or with `same_shape` off the batch sizes, differ.
        """
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
        """Return the loss of checked, precise tensors.

        Shape:
            student, teacher: (B, ...), B > 0. labels: (B,), identities; given where `needs_labels` says so.
        """
        raise TypeError(f"{type(self).__name__} must define compute")


def precise(tensor: Tensor) -> Tensor:
    """Return the tensor in float32; float64 stays."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def unit(rows: Tensor) -> Tensor:
    """Return rows of length 1, with a bounded gradient.

    x / max(|x|, 1e-6): shorter rows stay short. The norm's own gradient is 0 at 0.

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
    """Return the mean of the chosen values, without waiting for the device.

    None chosen gives a differentiable 0.

    Shape:
        values, chosen: equal; chosen is boolean.
    """
    return torch.where(chosen, values, 0.0).sum() / chosen.sum().clamp_min(1)
