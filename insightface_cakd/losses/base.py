"""What every distillation loss is: tensors in, one float32 scalar out."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from insightface_cakd.errors import ShapeError

EPS = 1e-6
Reads = Literal[
    "embedding", "map", "logits", "urfm_attention", "urfm_fields", "urfm_anchor", "prompted", "prompted_logits"
]


class DistillLoss(nn.Module):
    """A loss of a student's activation against a teacher's; it knows no module, rank, file or weight.

    Subclasses state what they read and implement `compute`, which receives float32 (or float64) tensors, the teacher's detached
    unless they say otherwise.

    Attributes:
        reads: which activation a term gives it.
        gathers: whether it compares images of a batch, so that the rows of all ranks must be gathered first.
        same_shape: whether both sides must agree in shape, so that a term may need a projector.
        detaches_teacher: whether the teacher's side is a constant; not where what it comes from learns by this loss.
        paper: source, for `cakd recipes check`.
    """

    reads: ClassVar[Reads] = "embedding"
    gathers: ClassVar[bool] = False
    same_shape: ClassVar[bool] = True
    detaches_teacher: ClassVar[bool] = True
    paper: ClassVar[str] = ""

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss in float32 (float64 for float64 inputs), computed outside autocast.

        Raises:
            ShapeError: the two sides cannot be compared.
        """
        self.check(student, teacher)
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
