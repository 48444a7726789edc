"""The one module that the training loop wraps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from insightface_cakd.distill.precision import CallersAutocast
from insightface_cakd.distill.sources import Context, Seen, Source, asking
from insightface_cakd.distill.taps import Taps, teacher_taps
from insightface_cakd.errors import RecipeError, ShapeError
from insightface_cakd.networks.memory_layout import in_fast_layout
from insightface_cakd.networks.modes import evaluating
from insightface_cakd.recipe.ensemble import ENSEMBLE
from insightface_cakd.teachers import Teacher
from insightface_cakd.teachers.ensemble import Ensemble
from insightface_cakd.views import Sides

Outputs = tuple[Tensor, dict[str, Tensor]]


@dataclass
class EmbeddingGradients:
    """Squared gradient norms at the embedding; None before the backward."""

    margin: Tensor | None = None
    distillation: Tensor | None = None


class DistilledStudent(nn.Module):
    """Run student and teachers on the same images for the distillation terms.

    The sources turn both sides' embeddings and taps into what the terms read.

    In train mode `forward` returns `(embedding, features)`, a plain tuple of a tensor and a dict of tensors: a static-graph
    DistributedDataParallel synchronises no other container. In eval mode it returns the embedding and runs no teacher.
    `state_dict` and `load_state_dict` are the bare backbone's, so a saved student loads into plain arcface_torch.

    Args:
        teachers: by name; deliberately not submodules, so that no optimiser, checkpoint or DDP ever sees what does not learn.
        image_size: side of the square input, in pixels.
        taught: whether any term or source reads the teachers; if not, `forward` does not run them.
        sides: the views of each side; None shows both sides the image itself.
        embedding_of: the embedding that terms read, from the backbone's answer in train mode; None for the answer itself.
        ensemble: makes one more answer of the teachers', called `ensemble`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        teachers: Mapping[str, Teacher],
        sources: Sequence[Source],
        image_size: int = 112,
        taught: bool = True,
        sides: Sides | None = None,
        embedding_of: Callable[[Tensor], Tensor] | None = None,
        ensemble: Ensemble | None = None,
    ) -> None:
        super().__init__()
        self.backbone = in_fast_layout(backbone)
        self.sources = list(sources)
        for source in self.sources:
            source.adapt(backbone)
        self._backbone_precision = CallersAutocast()
        self._taught = taught
        self._sides = sides
        self._embedding_of = embedding_of or (lambda answer: answer)
        self._ensemble = ensemble
        self.teachers = dict(teachers)
        self._student_taps = Taps(backbone, [path for source in sources for path in source.student_taps()])
        self._teacher_taps = {
            name: teacher_taps(teacher, [path for source in sources for path in source.teacher_taps(name)])
            for name, teacher in self.teachers.items()
        }
        self.gradients = EmbeddingGradients()
        self.measures_gradients = False
        # Gives the number of the batch, for random views; set by the owner of the step count.
        self.step: Callable[[], int] = lambda: 0
        self.method = self._build_method(image_size)

    @property
    def teacher(self) -> Teacher:
        """The first teacher."""
        return next(iter(self.teachers.values()))

    @property
    def reads_landmarks(self) -> bool:
        """Whether `forward` needs the landmarks of each image in train mode."""
        return any(source.reads_landmarks for source in self.sources)

    def forward(self, images: Tensor, landmarks: Tensor | None = None) -> Tensor | Outputs:
        """Return `(embedding, features)` in train mode, the embedding in eval mode.

        Shape:
            images: (B, 3, H, W), RGB in [-1, 1]. landmarks: (B, 5, 2), pixels of the 112x112 image; only where a source reads them.
            embedding: (B, D). features: what the sources give, with `student.embedding` and each teacher's, `teacher.embedding`.
        """
        if not self.training:
            return self.backbone(images)
        if self.reads_landmarks != (landmarks is not None):
            raise ShapeError(
                f"urfm.landmarks: {'none given' if landmarks is None else 'given'} with a batch; expected them with `landmarks: batch` "
                "only. Call the student with (images, landmarks), or with images and `landmarks: template`."
            )
        # The loop's autocast is for the backbone: what the terms read is computed in float32.
        with self._backbone_precision.left(images.device):
            return self._taught_forward(images, landmarks)

    def _taught_forward(self, images: Tensor, landmarks: Tensor | None) -> Outputs:
        images, found = self._perturbed(images)
        ours, theirs = (images, images) if self._sides is None else self._sides(images, self.step())
        # The teachers first: their activations are freed before the student's are kept for the backward.
        teachers = self._run_teachers(theirs) if self._taught else {}
        plain = self._run_plain(theirs)
        student = self._run_student(ours)
        # Two views of one embedding, so that the gradients of margin and distillation can be distinguished.
        for_margin, for_terms = (student.embedding.view_as(student.embedding) for _ in range(2))
        self._watch(for_margin, for_terms)
        for_terms = self._embedding_of(for_terms)
        features = {"student.embedding": for_terms, **{f"{name}.plain": said for name, said in plain.items()}, **found}
        if not teachers:
            return for_margin, features
        features |= {f"{name}.embedding": seen.embedding for name, seen in teachers.items()}
        context = Context(ours, Seen(for_terms, student.taps), teachers, plain, landmarks)
        for source in self.sources:
            with asking(source):
                features |= source.forward(context)
        return for_margin, features

    def train(self, mode: bool = True) -> "DistilledStudent":
        """Switch the student, and teachers that train, between train and eval mode."""
        super().train(mode)
        for teacher in self.teachers.values():
            teacher.train(mode)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the bare backbone's state: its keys, no projector, no teacher.

        Low-rank updates are merged into the weights.
        """
        state = self.backbone.state_dict(*args, **kwargs)
        for source in self.sources:
            source.merge(state, kwargs.get("prefix", ""))
        return state

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True, assign: bool = False) -> Any:  # type: ignore[override]
        """Load the bare backbone's state."""
        return self.backbone.load_state_dict(state_dict, strict=strict, assign=assign)

    @torch.no_grad()
    def observe(self, images: Tensor) -> Context:
        """Return embeddings and taps of both sides, without gradients.

        The networks stay in the mode that they are in.
        """
        return Context(images, self._run_student(images), self._run_teachers(images))

    def _perturbed(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the images as the sources change them, before the views."""
        found: dict[str, Tensor] = {}
        for source in self.sources:
            with asking(source):
                images, more = source.perturb(images, self._look)
                found |= more
        return images, found

    def _look(self, images: Tensor) -> Seen:
        """Run the student in eval mode, so that no statistics change."""
        with evaluating(self.backbone):
            return self._run_student(images)

    def _run_student(self, images: Tensor) -> Seen:
        with self._student_taps as taps, self._backbone_precision.entered():
            embedding = self.backbone(images)
            return Seen(embedding.float(), taps.collect())

    def _run_teachers(self, images: Tensor) -> dict[str, Seen]:
        return self._with_ensemble({name: self._run_teacher(name, images) for name in self.teachers})

    def _with_ensemble(self, seen: dict[str, Seen]) -> dict[str, Seen]:
        if self._ensemble is None:
            return seen
        return seen | {ENSEMBLE: Seen(self._ensemble([answer.embedding for answer in seen.values()]))}

    def _run_teacher(self, name: str, images: Tensor) -> Seen:
        teacher = self.teachers[name]
        # The parameters of a teacher that learn, its prompts or all of them, need this graph.
        with torch.set_grad_enabled(teacher.learns and torch.is_grad_enabled()), self._teacher_taps[name] as taps:
            return Seen(teacher(images), taps.collect())

    def _run_plain(self, images: Tensor) -> dict[str, Tensor]:
        """Return the embeddings of prompted teachers without their prompts.

        They are computed where a source reads them. An anchor that prompts can move would be drawn to where it is easily reached.
        """
        if not any(source.reads_plain for source in self.sources):
            return {}
        return {name: teacher.plain(images) for name, teacher in self.teachers.items() if teacher.prompts is not None}

    def _watch(self, for_margin: Tensor, for_terms: Tensor) -> None:
        """Record this step's gradient norms at the embedding, when asked.

        Nothing is copied from the device.
        """
        if not self.measures_gradients:
            return
        self.gradients = gradients = EmbeddingGradients()

        def keep(name: str) -> Any:
            return lambda gradient: setattr(gradients, name, gradient.detach().float().square().sum())

        for_margin.register_hook(keep("margin"))
        if for_terms.requires_grad:
            for_terms.register_hook(keep("distillation"))

    @torch.no_grad()
    def _build_method(self, image_size: int) -> nn.ModuleDict:
        """Build what the sources train, with shapes of one blank image."""
        device = next(self.backbone.parameters()).device
        blank = torch.zeros(1, 3, image_size, image_size, device=device)
        was_training = self.backbone.training
        self.backbone.eval()
        student = self._run_student(blank)
        self.backbone.train(was_training)
        teachers = self._with_ensemble({name: self._blank_teacher(name, blank) for name in self.teachers})
        context = Context(blank, student, teachers)
        method = nn.ModuleDict()
        for source in self.sources:
            with asking(source):
                module = source.build(context)
                if module is None:
                    continue
                if not source.name or source.name in method:
                    raise RecipeError(
                        f"recipe: source {type(source).__name__} trains a module under the name '{source.name}'; expected a name of its "
                        "own, by which checkpoints keep it. Set the class attribute `name`."
                    )
                method[source.name] = module
        return method

    def _blank_teacher(self, name: str, blank: Tensor) -> Seen:
        """Return a teacher's embedding and taps of a blank image.

        A teacher that neither learns nor is tapped, such as an ONNX or cached one, is not run: its embedding is zeros.
        """
        teacher = self.teachers[name]
        if self._teacher_taps[name].paths or teacher.learns:
            return self._run_teacher(name, blank.to(teacher.device))
        return Seen(blank.new_zeros(1, *teacher.answer))
