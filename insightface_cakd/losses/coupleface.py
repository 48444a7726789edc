"""Similarities to the identities that the teacher finds most alike (CoupleFace)."""

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from insightface_cakd.errors import RecipeError, ShapeError
from insightface_cakd.losses.base import EPS, DistillLoss, precise, unit
from insightface_cakd.losses.options import OldName

# Values of bank rows that are looked at together: 32 MB.
CHUNK = 1 << 23
# Unit vectors as whole numbers of this many parts: sums that do not depend on their order, for up to 2^15 images of one identity.
PARTS = 2.0**48


class RelationAwareLoss(DistillLoss):
    """Keep the student's similarity to hard other identities below the teacher's.

    1/(B K) sum_i sum_{k in H_{y_i}} [g_k . s_i - g_k . t_i - q]_+, unit vectors; g_k the rows of a bank in the teacher's space. First, in
    train mode, the row of each identity in the batch becomes the renormalised mean of the teacher's features of its images there.

    Shape:
        student, teacher: (B, D). labels: (B,). Gathered: every rank makes the same change to its copy of the bank, and the loss is that
        of all rows. Buffers: bank (C, D), in the checkpoint; hardest (C, K), which `start` gives anew. Compared 32 MB at a time, the
        gradient at once, so that memory grows with B D and not with B K D.
    Units:
        Cosine, in [0, 2]; unchanged when either side is scaled. Its gradient to a unit row is at most 1 / B long.
    Args:
        slack: q, how far the student's similarity may exceed the teacher's, >= 0.
    Raises:
        RecipeError: the slack is out of range, or the loss is used before `start`.
        ShapeError: the teacher's rows are not as wide as the bank's, or there is not one label for each row.
    Edge cases:
        0 for a student orthogonal to all of its hard identities: never use it alone. A row whose label is none of the bank's (-1) has no
        relations, counts as 0 and changes nothing. Features of one identity that add up to zero leave its row. B = 0 returns a
        differentiable 0.
    Source:
        CoupleFace (ECCV 2022): K 100, q 0.03; no official code. Mean of several images of one identity, where the known third-party code
        keeps the last: that would depend on their order. Beside feature consistency (`fcd`) and the margin.
    """

    name = "relation_aware"
    gathers = True
    needs_labels = True
    keeps_state = True
    needs_prototypes = True
    paper = "CoupleFace (2204.05502), relation-aware distillation, q 0.03, K 100"
    bank: Tensor
    hardest: Tensor

    def __init__(
        self,
        slack: Annotated[float, Field(ge=0, description="a cosine >= 0; the paper uses 0.03"), OldName("q")] = 0.03,
    ) -> None:
        super().__init__()
        self.slack = slack
        self.register_buffer("bank", torch.zeros(0, 0))
        self.register_buffer("hardest", torch.zeros(0, 0, dtype=torch.int32), persistent=False)

    def start(self, prototypes: Tensor, hardest: Tensor) -> None:
        """Give the bank its first rows, and each identity its hard others.

        Shape:
            prototypes: (C, D), normalised here. hardest: (C, K), numbers below C.

        Raises:
            ShapeError: the two do not fit, or a list is empty.
        """
        fits = prototypes.ndim == hardest.ndim == 2 and len(prototypes) == len(hardest) > 0 and hardest.shape[1] > 0
        if not fits:
            raise ShapeError(
                f"relation_aware: prototypes {tuple(prototypes.shape)} and lists {tuple(hardest.shape)}; expected (C, D) and (C, K >= 1). "
                "Write the prototypes again."
            )
        self.bank = unit(precise(prototypes.detach()))
        self.hardest = hardest.to(torch.int32)

    def compute(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the mean excess of similarity, after the bank has moved."""
        self._check_bank(teacher)
        assert labels is not None, "needs_labels"
        if self.bank.device != student.device:
            self.to(student.device)
        student, teacher = unit(student), unit(teacher)
        known = (labels >= 0) & (labels < len(self.bank))
        labels = labels.clamp(0, len(self.bank) - 1)
        if self.training:
            self._move_bank(teacher, labels, known)
        total: Tensor = _Excess.apply(student - teacher, self.bank, self.hardest[labels], known, self.slack)
        return total / (len(labels) * self.hardest.shape[1])

    def _check_bank(self, teacher: Tensor) -> None:
        if len(self.bank) == 0:
            raise RecipeError(
                "relation_aware: has no prototypes; expected those of the training set. Set teacher.prototypes, or pass --prototypes "
                "FOLDER (`cakd data prototypes` writes it)."
            )
        if teacher.shape[1:] != self.bank.shape[1:]:
            raise ShapeError(
                f"relation_aware: teacher {tuple(teacher.shape)}, bank {tuple(self.bank.shape)}; expected rows of one width. Leave out the "
                "term's teacher tap, or write the prototypes with this teacher."
            )

    @torch.no_grad()
    def _move_bank(self, teacher: Tensor, labels: Tensor, known: Tensor) -> None:
        """Put the mean of each identity's rows into the bank.

        Every image of an identity writes the same bits.
        """
        whole = (teacher * known.unsqueeze(1) * PARTS).round().long()
        groups = _groups(labels)
        sums = torch.zeros_like(whole).index_add_(0, groups, whole).to(teacher.dtype) / PARTS  # (B, D), a group a row
        there = torch.linalg.vector_norm(sums, dim=1, keepdim=True) > EPS
        moved = torch.where(there[groups], unit(sums)[groups], self.bank[labels].to(teacher.dtype))
        # In place: nothing in a graph refers to the bank, and a copy of it each step would cost more than the loss.
        self.bank.index_copy_(0, labels, moved.to(self.bank.dtype))


class _Excess(torch.autograd.Function):
    """Sum of the excesses of all rows and their listed bank rows.

    An excess is [g . d - q]_+. The gradient is computed together with it, chunk by chunk.
    """

    @staticmethod
    def forward(ctx: Any, differences: Tensor, bank: Tensor, lists: Tensor, known: Tensor, slack: float) -> Tensor:
        total, gradient = differences.new_zeros(()), torch.empty_like(differences)
        for part in _parts(len(lists), lists.shape[1] * bank.shape[1]):
            rows = bank[lists[part]].to(differences.dtype)  # (b, K, D)
            excess = torch.bmm(rows, differences[part].unsqueeze(2)).squeeze(2) - slack  # (b, K)
            counts = known[part].unsqueeze(1)
            active = (excess > 0) & counts
            total = total + torch.where(counts, excess.clamp_min(0), 0.0).sum()
            gradient[part] = torch.bmm(active.to(rows.dtype).unsqueeze(1), rows).squeeze(1)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None, None, None, None


def _parts(count: int, size: int) -> Iterator[slice]:
    """Split `count` rows into parts of `CHUNK` values or one row."""
    length = max(CHUNK // size, 1)
    return (slice(start, start + length) for start in range(0, count, length))


def _groups(labels: Tensor) -> Tensor:
    """Return a number below B for each label, without a device wait."""
    ordered, order = labels.sort(stable=True)
    numbers = torch.zeros_like(labels)
    numbers[1:] = (ordered[1:] != ordered[:-1]).cumsum(0)
    return torch.empty_like(labels).index_copy_(0, order, numbers)
