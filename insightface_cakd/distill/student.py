"""The one module that the training loop wraps: the student, its taps and projectors, and the teacher beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.distill.projectors import build_projector, check_shapes
from insightface_cakd.distill.step import feature_key
from insightface_cakd.distill.taps import Taps
from insightface_cakd.errors import TapError
from insightface_cakd.losses import LOSSES
from insightface_cakd.recipe import TermSpec
from insightface_cakd.teachers import Teacher

Outputs = tuple[Tensor, dict[str, Tensor]]


@dataclass
class EmbeddingGradients:
    """Squared norms of what the margin and the distillation send back to the embedding in one step."""

    margin: Tensor | None = None
    distillation: Tensor | None = None


class DistilledStudent(nn.Module):
    """Run student and teacher on the same images.

    In train mode `forward` returns `(embedding, features)`, a plain tuple of a tensor and a dict of tensors: a static-graph
    DistributedDataParallel synchronises no other container. In eval mode it returns the embedding and runs no teacher.
    `state_dict` and `load_state_dict` are the bare backbone's, so a saved student loads into plain arcface_torch.

    Shape:
        images: (B, 3, H, W), RGB in [-1, 1]. embedding: (B, D). features: under `feature_key` what each term
        reads, the student's already projected.

    Args:
        backbone: the student, an ordinary network of the host.
        teacher: frozen; deliberately not a submodule, so that no optimiser, checkpoint or DDP ever sees it.
        terms: the recipe's terms.
        image_size: side of the square input.

    Raises:
        TapError: a tap does not exist in its network, or the teacher has no modules to tap.
        ShapeError: student and teacher do not fit and no projector is given.
    """

    def __init__(self, backbone: nn.Module, teacher: Teacher, terms: Iterable[TermSpec], image_size: int = 112) -> None:
        super().__init__()
        self.backbone = backbone
        self.terms = [term for term in terms if LOSSES[term.loss].reads != "logits"]
        self._teacher = [teacher]
        self._student_taps = Taps(backbone, _paths(self.terms, "student"))
        self._teacher_taps = Taps(_tappable(teacher, self.terms), _paths(self.terms, "teacher"))
        self.gradients = EmbeddingGradients()
        self.measures_gradients = False
        self.projectors = nn.ModuleDict(self._build_projectors(image_size))

    @property
    def teacher(self) -> Teacher:
        """The frozen teacher."""
        return self._teacher[0]

    def forward(self, images: Tensor) -> Tensor | Outputs:
        """Return `(embedding, features)` in train mode, the embedding in eval mode."""
        if not self.training:
            return self.backbone(images)
        # The teacher first: its activations are freed before the student's are kept for the backward.
        taught, teacher = self._run_teacher(images)
        embedding, student = self._run_student(images)
        # Two views of one embedding, so that the gradients of margin and distillation can be told apart.
        for_margin, for_terms = embedding.view_as(embedding), embedding.view_as(embedding)
        self._watch(for_margin, for_terms)
        features = {"student.embedding": for_terms, "teacher.embedding": taught}
        for term in self.terms:
            if term.student is not None or term.projector is not None:
                activation = for_terms if term.student is None else student[term.student]
                features[feature_key(term, "student")] = self._project(term, activation)
            if term.teacher is not None:
                features[feature_key(term, "teacher")] = teacher[term.teacher]
        return for_margin, features

    def train(self, mode: bool = True) -> "DistilledStudent":
        """Switch the student; the teacher stays in eval whatever the loop does."""
        super().train(mode)
        self.teacher.eval()
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the bare backbone's state: its keys, no projector, no teacher."""
        return self.backbone.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True, assign: bool = False) -> Any:  # type: ignore[override]
        """Load the bare backbone's state."""
        return self.backbone.load_state_dict(state_dict, strict=strict, assign=assign)

    def _project(self, term: TermSpec, activation: Tensor) -> Tensor:
        return self.projectors[term.name](activation.float()) if term.name in self.projectors else activation

    def _run_student(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with self._student_taps as taps:
            embedding = self.backbone(images)
            return embedding.float(), taps.collect()

    def _run_teacher(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad(), self._teacher_taps as taps:
            embedding = self.teacher(images)
            return embedding, taps.collect()

    def _watch(self, for_margin: Tensor, for_terms: Tensor) -> None:
        """Record this step's gradient norms at the embedding, when asked; nothing leaves the device."""
        if not self.measures_gradients:
            return
        self.gradients = gradients = EmbeddingGradients()

        def keep(name: str) -> Any:
            return lambda gradient: setattr(gradients, name, gradient.detach().float().square().sum())

        for_margin.register_hook(keep("margin"))
        if for_terms.requires_grad:
            for_terms.register_hook(keep("distillation"))

    @torch.no_grad()
    def _build_projectors(self, image_size: int) -> dict[str, nn.Module]:
        """Learn the shapes from one blank image and build the projector of each term that names one."""
        student, teacher = self._blank_shapes(image_size)
        projectors = {}
        for term in self.terms:
            ours, theirs = student[term.student], teacher[term.teacher]
            where = f"term '{term.name}'"
            if term.projector is not None:
                projectors[term.name] = build_projector(term.projector, ours, theirs, where)
            elif LOSSES[term.loss].same_shape:
                check_shapes(where, ours, theirs)
        return projectors

    def _blank_shapes(
        self, image_size: int
    ) -> tuple[dict[str | None, tuple[int, ...]], dict[str | None, tuple[int, ...]]]:
        """Return tap -> shape without the batch for student and teacher; the key None is the embedding."""
        was_training = self.backbone.training
        self.backbone.eval()
        blank = torch.zeros(1, 3, image_size, image_size, device=next(self.backbone.parameters()).device)
        embedding, student = self._run_student(blank)
        self.backbone.train(was_training)
        ours: dict[str | None, tuple[int, ...]] = {path: tuple(tap.shape[1:]) for path, tap in student.items()}
        theirs: dict[str | None, tuple[int, ...]] = {None: (self.teacher.embedding_size,)}
        if self._teacher_taps.paths:
            _, teacher = self._run_teacher(blank.to(self.teacher.device))
            theirs |= {path: tuple(tap.shape[1:]) for path, tap in teacher.items()}
        return {None: tuple(embedding.shape[1:]), **ours}, theirs


def _paths(terms: Iterable[TermSpec], side: str) -> list[str]:
    """Return the tap paths of one side, each once."""
    return list(dict.fromkeys(path for term in terms if (path := getattr(term, side)) is not None))


def _tappable(teacher: Teacher, terms: Iterable[TermSpec]) -> nn.Module:
    """Return the module whose activations teacher taps read."""
    paths = _paths(terms, "teacher")
    if paths and teacher.network is None:
        raise TapError(
            f"teacher tap '{paths[0]}': teacher {teacher.name} gives embeddings only, it has no modules to tap; "
            "expected a torch teacher. Leave the term's `teacher` out to use the embedding, or use a torch teacher."
        )
    return teacher.network if teacher.network is not None else nn.Identity()
