"""The one module that the training loop wraps: the student, its taps and projectors, and the teacher beside it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.distill.embedding_gradients import EmbeddingGradients
from insightface_cakd.distill.projectors import Shapes, build_projectors, shapes_of
from insightface_cakd.distill.step import Side, feature_key
from insightface_cakd.distill.taps import Taps, tappable
from insightface_cakd.distill.urfm import URFM, TokenGrid, URFMSpec, as_tokens
from insightface_cakd.errors import ShapeError, TapError
from insightface_cakd.losses import LOSSES
from insightface_cakd.recipe import TermSpec
from insightface_cakd.teachers import PromptedTeacher, Teacher

Outputs = tuple[Tensor, dict[str, Tensor]]
ANCHORED = ("prompted", "urfm_anchor")


class DistilledStudent(nn.Module):
    """Run student and teacher on the same images.

    In train mode `forward` returns `(embedding, features)`, a plain tuple of a tensor and a dict of tensors: a static-graph
    DistributedDataParallel synchronises no other container. In eval mode it returns the embedding and runs no teacher.
    `state_dict` and `load_state_dict` are the bare backbone's, so a saved student loads into plain arcface_torch.

    Shape:
        images: (B, 3, H, W), RGB in [-1, 1]. landmarks: (B, 5, 2), pixels of the 112x112 image.
        embedding: (B, D). features: under `feature_key` what each term reads, the student's already projected.

    Args:
        backbone: the student, an ordinary network of the host.
        teacher: frozen; deliberately not a submodule, so that no optimiser, checkpoint or DDP ever sees it.
        terms: the recipe's terms.
        urfm: the receptive fields that terms compare, if any do.
        image_size: side of the square input.
        taught: whether anything reads what the teacher says; if not, `forward` does not run it.

    Raises:
        TapError: a tap does not exist in its network, or the teacher has no modules to tap.
        ShapeError: student and teacher do not fit and no projector is given.
    """

    def __init__(
        self,
        backbone: nn.Module,
        teacher: Teacher,
        terms: Iterable[TermSpec],
        urfm: URFMSpec | None = None,
        image_size: int = 112,
        taught: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        terms = list(terms)
        self.terms = [term for term in terms if LOSSES[term.loss].reads in ("embedding", "map")]
        self._reads_anchor = any(LOSSES[term.loss].reads == "urfm_anchor" for term in terms)
        self._reads_plain = reads_plain(teacher, terms)
        self._urfm, self._taught = urfm, taught
        self._teacher = [teacher]
        self._student_taps = Taps(backbone, _paths(self.terms, urfm, "student"))
        self._teacher_taps = Taps(*tappable(teacher, _paths(self.terms, urfm, "teacher")))
        self.gradients = EmbeddingGradients()
        self.measures_gradients = False
        self.method = nn.ModuleDict(self._build_method(image_size))

    @property
    def teacher(self) -> Teacher:
        """The frozen teacher."""
        return self._teacher[0]

    @property
    def projectors(self) -> nn.ModuleDict:
        """The projector of each term that has one, by the term's name."""
        return self.method["projectors"]  # type: ignore[return-value]

    @property
    def reads_landmarks(self) -> bool:
        """Whether `forward` needs the landmarks of each image in train mode."""
        return self._urfm is not None and self._urfm.landmarks == "batch"

    def forward(self, images: Tensor, landmarks: Tensor | None = None) -> Tensor | Outputs:
        """Return `(embedding, features)` in train mode, the embedding in eval mode.

        Raises:
            ShapeError: the recipe reads the landmarks of each image, and there are none, or they do not fit the images.
        """
        if not self.training:
            return self.backbone(images)
        if self.reads_landmarks != (landmarks is not None):
            raise ShapeError(
                f"urfm.landmarks: {'none given' if landmarks is None else 'given'} with a batch; expected them with `landmarks: batch` "
                "only. Call the student with (images, landmarks), or with images and `landmarks: template`."
            )
        # The teacher first: its activations are freed before the student's are kept for the backward.
        taught, teacher = self._run_teacher(images) if self._taught else (None, {})
        plain = {"teacher.plain": self.teacher.plain(images)} if self._reads_plain else {}
        embedding, student = self._run_student(images)
        # Two views of one embedding, so that the gradients of margin and distillation can be told apart.
        for_margin, for_terms = embedding.view_as(embedding), embedding.view_as(embedding)
        self._watch(for_margin, for_terms)
        features = {"student.embedding": for_terms, **plain}
        if taught is None:
            return for_margin, features
        features["teacher.embedding"] = taught
        for term in self.terms:
            if term.student is not None or term.projector is not None:
                activation = for_terms if term.student is None else student[term.student]
                features[feature_key(term, "student")] = self._project(term, activation)
            if term.teacher is not None:
                features[feature_key(term, "teacher")] = teacher[term.teacher]
        target = plain.get("teacher.plain", taught)
        return for_margin, features | self._map_fields(student, teacher, target, landmarks)

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

    @torch.no_grad()
    def tokens(self, images: Tensor) -> dict[Side, tuple[Tensor, TokenGrid]]:
        """Return what the centres look at on both sides, and how it lies; for a recipe with receptive fields."""
        assert self._urfm is not None
        teacher, student = self._run_teacher(images)[1], self._run_student(images)[1]
        found: dict[Side, tuple[Tensor, TokenGrid]] = {
            "student": self._student_tokens(self._urfm, student),
            "teacher": self._teacher_tokens(self._urfm, teacher),
        }
        return {side: (tokens.detach(), grid) for side, (tokens, grid) in found.items()}

    def _project(self, term: TermSpec, activation: Tensor) -> Tensor:
        return self.projectors[term.name](activation.float()) if term.name in self.projectors else activation

    def _run_student(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with self._student_taps as taps:
            embedding = self.backbone(images)
            return embedding.float(), taps.collect()

    def _map_fields(
        self, student: dict[str, Tensor], teacher: dict[str, Tensor], embedding: Tensor, landmarks: Tensor | None
    ) -> dict[str, Tensor]:
        """Return attention and fields of both sides, and the anchor's pair, if the recipe has unified receptive fields."""
        if self._urfm is None:
            return {}
        ours = self._student_tokens(self._urfm, student)[0]
        theirs = self._teacher_tokens(self._urfm, teacher)[0]
        fields = self.method["urfm"](ours, theirs, landmarks, embedding)
        return {f"urfm.{key}": value for key, value in fields.items()}

    @staticmethod
    def _student_tokens(spec: URFMSpec, taps: dict[str, Tensor]) -> tuple[Tensor, TokenGrid]:
        return as_tokens(taps[spec.student], spec.student_extra, "urfm.student")

    def _teacher_tokens(self, spec: URFMSpec, taps: dict[str, Tensor]) -> tuple[Tensor, TokenGrid]:
        """Return the tokens that the teacher shows: those of the tap, else the prompted teacher's last."""
        if spec.teacher is not None:
            return as_tokens(taps[spec.teacher], spec.teacher_extra, "urfm.teacher")
        if isinstance(self.teacher, PromptedTeacher):
            return self.teacher.tokens, self.teacher.grid
        raise TapError(
            f"urfm.teacher: not set, and teacher {self.teacher.name} has no prompts; expected a tap of the teacher. Set urfm.teacher "
            "to a module path, or teacher.prompts."
        )

    def _run_teacher(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        # Prompts learn through the frozen teacher.
        with torch.set_grad_enabled(isinstance(self.teacher, PromptedTeacher)), self._teacher_taps as taps:
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
    def _build_method(self, image_size: int) -> dict[str, nn.Module]:
        """Learn the shapes from one blank image, and build what the method trains beside the student."""
        device = next(self.backbone.parameters()).device
        blank = torch.zeros(1, 3, image_size, image_size, device=device)
        was_training = self.backbone.training
        self.backbone.eval()
        embedding, student = self._run_student(blank)
        self.backbone.train(was_training)
        teacher = self._blank_teacher(blank)
        ours: Shapes = {None: tuple(embedding.shape[1:]), **shapes_of(student)}
        theirs: Shapes = {None: (self.teacher.embedding_size,), **shapes_of(teacher)}
        method: dict[str, nn.Module] = {"projectors": build_projectors(self.terms, ours, theirs)}
        if self._urfm is not None:
            tokens, grid = self._student_tokens(self._urfm, student)
            their_tokens, their_grid = self._teacher_tokens(self._urfm, teacher)
            width = self.teacher.embedding_size if self._reads_anchor else None
            method["urfm"] = URFM(self._urfm, grid, their_grid, tokens.shape[-1], their_tokens.shape[-1], width)
        if isinstance(self.teacher, PromptedTeacher):
            method["prompts"] = self.teacher.prompts
        return method

    def _blank_teacher(self, blank: Tensor) -> dict[str, Tensor]:
        """Return the teacher's taps on a blank image; an ONNX or cached teacher is not asked."""
        if not self._teacher_taps.paths and not isinstance(self.teacher, PromptedTeacher):
            return {}
        return self._run_teacher(blank.to(self.teacher.device))[1]


def reads_plain(teacher: Teacher, terms: Iterable[TermSpec]) -> bool:
    """Return whether terms compare with what a prompted teacher says without its prompts.

    An anchor that prompts can move would be drawn to where it is easily reached.
    """
    return isinstance(teacher, PromptedTeacher) and any(LOSSES[term.loss].reads in ANCHORED for term in terms)


def _paths(terms: Iterable[TermSpec], urfm: URFMSpec | None, side: str) -> list[str]:
    """Return the tap paths of one side, each once."""
    readers = [*terms, *([] if urfm is None else [urfm])]
    return list(dict.fromkeys(path for reader in readers if (path := getattr(reader, side)) is not None))
