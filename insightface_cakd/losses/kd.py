"""Softened class probabilities, on whole or sharded logits."""

import torch
from torch import Tensor

from insightface_cakd.errors import RecipeError
from insightface_cakd.losses.base import DistillLoss, precise
from insightface_cakd.losses.classes import WHOLE_ROWS, ClassAxis


class SoftTargetLoss(DistillLoss):
    """Make the student's softened class probabilities equal the teacher's.

    T^2 / N sum_i KL(softmax(z^T_i / T) || softmax(z^S_i / T))

    Written as the difference of two cross-entropies against the teacher's probabilities, each a log-sum-exp minus a sum over
    classes: then every local piece is either a share of a sum or the same on all ranks, and an all-reduce whose backward is the identity
    gives each rank the gradient T (p^S - p^T) / N of its own columns.

    Shape:
        student, teacher: (N, n) logits of the same samples and classes, margin and scale inside.
    Units:
        T^2 nats, >= 0; 0 when the probabilities agree.
    Args:
        temperature: T > 0.
    Raises:
        RecipeError: the temperature is not positive.
    Edge cases:
        N = 0 returns a differentiable 0; extreme logits stay finite.
    Source:
        Hinton et al. 2015; T = 4 as in the GKD and EKD authors' baselines.
    """

    reads = "logits"
    paper = "KD (1503.02531), T = 4"

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        if not isinstance(temperature, int | float) or not 0 < temperature < float("inf"):
            raise RecipeError(f"kd: temperature is {temperature!r}; expected a positive number. The papers use 4.")
        self.temperature = temperature

    def forward(
        self, student: Tensor, teacher: Tensor, labels: Tensor | None = None, classes: ClassAxis = WHOLE_ROWS
    ) -> Tensor:
        """Return the divergence; `classes` reduces over the classes of all ranks."""
        self.check(student, teacher)
        with torch.autocast(student.device.type, enabled=False):
            return self._divergence(precise(student), precise(teacher.detach()), classes)

    def _divergence(self, student: Tensor, teacher: Tensor, classes: ClassAxis) -> Tensor:
        if student.shape[0] == 0:
            return student.sum() * 0
        ours, theirs = self._shifted(student, classes), self._shifted(teacher, classes)
        mass = theirs.exp()
        probabilities = mass / classes.sum(mass)  # (N, n)
        entropies = [classes.sum(z.exp()).log() - classes.sum(probabilities * z) for z in (ours, theirs)]
        return self.temperature**2 * (entropies[0] - entropies[1]).mean()

    def _shifted(self, logits: Tensor, classes: ClassAxis) -> Tensor:
        """Return softened logits with 0 as the largest of each row."""
        return (logits - classes.max(logits)) / self.temperature
