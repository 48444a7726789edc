"""Mixed enrolment, in any protocol: one model's gallery, another's probes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from insightface_cakd.errors import EvaluationError

CHUNK = 1024
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Embedded:
    """The embeddings of one model.

    Args:
        gallery: (G, D), of the enrolled images.
        probe: (P, D), of the images compared with them.
    """

    name: str
    gallery: np.ndarray
    probe: np.ndarray


@dataclass(frozen=True)
class Combination:
    """Which model's gallery is compared with which model's probes."""

    gallery: str
    probe: str

    @property
    def title(self) -> str:
        """The combination in words."""
        return f"{self.gallery} alone" if self.gallery == self.probe else f"gallery {self.gallery}, probe {self.probe}"


@dataclass(frozen=True, eq=False)
class Combinations(Generic[T]):
    """One value for each combination of two models' galleries and probes."""

    teacher_alone: T
    student_alone: T
    kept: T
    reverse: T

    @classmethod
    def of(cls, teacher: S, student: S, make: Callable[[S, S], T]) -> "Combinations[T]":
        """Return make(gallery's model, probes' model) of each combination."""
        return cls(make(teacher, teacher), make(student, student), make(teacher, student), make(student, teacher))

    def __iter__(self) -> Iterator[T]:
        return iter((self.teacher_alone, self.student_alone, self.kept, self.reverse))


def require_one_space(teacher: Embedded, student: Embedded) -> None:
    """Check that embeddings of two models can be compared with each other."""
    require_one_width((teacher.name, teacher.gallery.shape[1]), (student.name, student.gallery.shape[1]))
    for one, other in ((teacher.gallery, student.gallery), (teacher.probe, student.probe)):
        if one.shape != other.shape:
            raise EvaluationError(
                f"mixed enrolment: {teacher.name} embedded {one.shape[0]} faces, {student.name} {other.shape[0]}; expected "
                "the same faces. Extract both from one list."
            )
    for model in (teacher, student):
        bad = sum(int((~np.isfinite(rows)).any(axis=1).sum()) for rows in (model.gallery, model.probe))
        if bad:
            raise EvaluationError(
                f"mixed enrolment: {bad} embeddings of {model.name} are not finite; expected numbers. Extract them again, "
                "in float32."
            )


def require_one_width(teacher: tuple[str, int], student: tuple[str, int]) -> None:
    """Check that two models have different names and one embedding width."""
    (old, before), (new, after) = teacher, student
    if before != after:
        raise EvaluationError(
            f"mixed enrolment: {old} gives {before} numbers a face, {new} {after}; expected equal widths. Train the student "
            f"with embedding_size={before} in the teacher's space, or enrol everyone again."
        )
    if old == new:
        raise EvaluationError(f"mixed enrolment: both models are named {old}; expected two names. Rename one.")


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Return rows scaled to length 1, in float64; zero rows stay zero."""
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return rows / np.where(norms == 0, 1, norms)


def mixed_distances(gallery: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """Return squared distances (P,) in [0, 4], rows scaled to length 1."""
    return np.square(unit_rows(gallery) - unit_rows(probe)).sum(axis=1)


def mixed_ranks(gallery: np.ndarray, probe: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the rank of each probe's own entry, int (P,).

    The rank is the number of other gallery entries at least as near as the own one; 0 is found first. Equal embeddings
    find nobody.

    Args:
        gallery: (G, D), one row per person.
        own: row of each probe's person in the gallery, (P,).
    """
    enrolled, asked = unit_rows(gallery), unit_rows(probe)
    ranks = []
    for start in range(0, len(asked), CHUNK):
        scores = asked[start : start + CHUNK] @ enrolled.T  # (chunk, G)
        mine = scores[np.arange(len(scores)), own[start : start + CHUNK]]
        ranks.append((scores >= mine[:, None]).sum(axis=1) - 1)
    return np.concatenate(ranks) if ranks else np.empty(0, int)
