"""What sources are made from, and what they see of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import Recipe, TermSpec
from insightface_cakd.recipe.ensemble import ENSEMBLE
from insightface_cakd.teachers import Teacher, load_centres
from insightface_cakd.teachers.centres import ClassCentres


@dataclass(frozen=True)
class Seen:
    """What one network computed from a batch.

    Args:
        embedding: (B, ...), its answer.
        taps: module path -> activation, those that sources asked for.
    """

    embedding: Tensor
    taps: Mapping[str, Tensor] = field(default_factory=dict)

    def read(self, tap: str | None) -> Tensor:
        """Return what a tap read, the answer for None."""
        return self.embedding if tap is None else self.taps[tap]


@dataclass(frozen=True)
class Context:
    """What both sides computed from a batch, the input of the sources.

    Args:
        images: (B, 3, H, W), RGB in [-1, 1], as the student sees them.
        student: its answer has the gradient of the terms, apart from that of the task's own loss.
        teachers: by name; a single one is called `teacher`.
        plain: embeddings without prompts of teachers that have prompts, by name, where a source reads them.
        landmarks: (B, 5, 2), pixels of the 112x112 image, where a source reads them.
    """

    images: Tensor
    student: Seen
    teachers: Mapping[str, Seen]
    plain: Mapping[str, Tensor] = field(default_factory=dict)
    landmarks: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """The labels of a step.

    Args:
        labels: (B,), identities of this rank's images.
        everyone: (R * B,), those of all ranks where a term gathers, else the same.
    """

    labels: Tensor
    everyone: Tensor


@dataclass(frozen=True)
class Setting:
    """What a source is made from.

    Args:
        recipe: of the run.
        teachers: by name.
        terms: those that read something that this source offers.
        options: of the recipe's `sources` part.
    """

    recipe: Recipe
    teachers: Mapping[str, Teacher]
    terms: Sequence[TermSpec] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def teacher(self) -> Teacher:
        """The first teacher."""
        return next(iter(self.teachers.values()))

    @property
    def first(self) -> str:
        """The first teacher's name."""
        return next(iter(self.teachers))

    @property
    def answer(self) -> str:
        """Whose embedding is read where nobody is named.

        The ensemble's, or the first teacher's.
        """
        return self.first if self.recipe.ensemble is None else ENSEMBLE

    def load_centres(self) -> ClassCentres:
        """Return the first teacher's class centres, (classes, D).

        Raises:
            RecipeError: the recipe names no file.
        """
        if self.teacher.centres is not None:
            return ClassCentres([self.teacher.centres])
        if not self.recipe.teacher.centres:
            reader = "a logits term" if self.recipe.needs_logits else "head.centres: teacher"
            raise RecipeError(
                f"recipe: {reader} needs the teacher's class centres, but teacher.centres is empty; expected the files with the "
                "teacher's head, in rank order. Set teacher.centres, or pass --centres FILE."
            )
        return load_centres(self.recipe.teacher.centres)
