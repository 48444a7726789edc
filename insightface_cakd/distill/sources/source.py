"""Base class of sources: objects that offer what terms read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from torch import Tensor, nn

from insightface_cakd.distill.gather import gather, gather_constant
from insightface_cakd.distill.sources.context import Batch, Context, Seen, Setting
from insightface_cakd.errors import RunError
from insightface_cakd.losses import DistillLoss
from insightface_cakd.recipe import TermSpec
from insightface_cakd.runtime.foreign import foreign


def asking(source: Source) -> AbstractContextManager[None]:
    """Return a block to ask a source and use its answer.

    Args:
        source: one of the user's may raise anything in it, or answer anything.
    """
    expected = "what the methods of `Source` say. Correct it; see CONTRIBUTING.md."
    return foreign(f"source {type(source).__name__}", RunError, expected, of=source)


class Source:
    """Base class of the objects that offer what terms read.

    A source says what it needs of both networks and what it trains, and gives tensors for a batch. It takes part where a term reads one of
    its `offers`. It may look at the batch twice: in `forward`, inside the module that the loop wraps, so that what it trains is
    synchronised over ranks; and around the head's loss (`before_loss`, `after_loss`).

    Attributes:
        name: key of what it trains, in checkpoints.
        offers: readings that a loss or a term may name.
        reads_plain: whether it needs the embeddings without prompts of a teacher that has prompts.
        reads_landmarks: whether it needs the five landmarks of each image.
        by_class: whether it offers values per class, for which the host's margin must be observed.

    Args:
        setting: what the source is made from.
    """

    name: ClassVar[str] = ""
    offers: ClassVar[tuple[str, ...]] = ()
    reads_plain = False
    reads_landmarks = False
    by_class = False

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @classmethod
    def takes_part(cls, setting: Setting) -> bool:
        """Return whether a run needs this source.

        Args:
            setting: what the source would be made from.
        """
        return bool(setting.terms)

    def student_taps(self) -> Sequence[str]:
        """Return the module paths of the student whose outputs it reads."""
        return [path for term in self.setting.terms if (path := term.student) is not None]

    def teacher_taps(self, name: str) -> Sequence[str]:
        """Return the module paths of a teacher whose outputs it reads.

        Args:
            name: of the teacher.
        """
        return [path for term in self.setting.terms if (path := term.teacher) is not None and self.whose(term) == name]

    def adapt(self, backbone: nn.Module) -> None:
        """Change the student before its taps are set and it is wrapped.

        Args:
            backbone: of the host, with its initial weights.
        """

    def merge(self, state: dict[str, Any], prefix: str) -> None:
        """Put what the source adds to the student's weights into its state.

        Tensors are replaced, not changed in place: they are the student's own.

        Args:
            state: of the bare backbone.
            prefix: of its keys.
        """

    def build(self, blank: Context) -> nn.Module | None:
        """Return the module that the source trains, None for nothing.

        Args:
            blank: context of one blank image, from which shapes are read; the answer of a teacher that nothing taps is zeros.
        """
        return None

    def perturb(self, images: Tensor, look: Callable[[Tensor], Seen]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the images that both sides get instead, and tensors by name.

        Called in train mode before the views, also in runs without a teacher.

        Args:
            images: (B, 3, H, W), RGB in [-1, 1].
            look: runs the student in eval mode, with its taps and a graph.
        """
        return images, {}

    def own_loss(self, features: Mapping[str, Tensor], labels: Tensor) -> Tensor | None:
        """Return the loss of what the source itself trains, None for nothing.

        It is added to the run's loss with weight 1.

        Args:
            features: of `perturb` and `forward`.
            labels: (B,), of this rank's images.
        """
        return None

    def forward(self, context: Context) -> dict[str, Tensor]:
        """Return tensors of the batch by name.

        What several terms share is computed once.

        Args:
            context: what both sides computed from the batch.
        """
        return {}

    def check(self, width: int, classes: int) -> None:
        """Check that student, teacher and head fit, before a head is built.

        Args:
            width: of the student's embeddings.
            classes: of the training set.

        Raises:
            ShapeError: they do not.
        """

    def begin(self, head: Any, classes: int) -> None:
        """Take note of a head that its host has just built.

        Args:
            head: `PartialFC_V2` of a host.
            classes: of all ranks together.
        """

    def before_loss(self, head: Any, features: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Prepare the step before the head computes its loss.

        Returns values to be logged, by name.

        Args:
            head: about to compute its loss.
            features: of `forward`, with `student.embedding` and `teacher.embedding`.
            labels: (B,), of this rank's images.
        """
        return {}

    def after_loss(self, head: Any, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors by name that exist only after the head's loss.

        Args:
            head: has just computed its loss.
            features: of `forward`.
        """
        return {}

    def check_state(self, head: Any, state: dict[str, Any]) -> None:
        """Refuse a checkpoint that would replace what must stay.

        Called before the checkpoint is loaded.

        Args:
            head: of the run.
            state: of the host's head.
        """

    def pair(self, term: TermSpec, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the two sides that a term compares, student and teacher.

        Args:
            term: reads something that this source offers.
            features: of `forward` and `after_loss`.
        """
        return features[f"{term.reading}.student"], features[f"{term.reading}.teacher"]

    def run(self, loss: DistillLoss, term: TermSpec, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return a term's value for a batch.

        A loss that compares images with each other sees those of all ranks.

        Args:
            loss: of the term.
            term: reads something that this source offers.
            features: of `forward` and `after_loss`.
            batch: the labels.
        """
        student, teacher = self.pair(term, features)
        if type(loss).gathers:
            return loss(gather(student), gather_constant(teacher), batch.everyone)
        return loss(student, teacher, batch.labels)

    def whose(self, term: TermSpec) -> str:
        """Return the name of the teacher that a term reads.

        Args:
            term: of the recipe; one that names no teacher reads the ensemble's embedding, or the first teacher.
        """
        return term.whose or (self.setting.answer if term.teacher is None else self.setting.first)
