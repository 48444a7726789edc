"""Whether two faces are one person's, by a threshold of known origin."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insightface_cakd.data.bins import load_bin
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.pairs.embeddings import embed_plain
from insightface_cakd.evaluate.pairs.verification import (
    VerificationResult,
    allowed_accepts,
    judge,
    limit_of,
    pair_distances,
    require_kinds,
)
from insightface_cakd.networks.models import Embed

BY_HAND = "given by hand"


@dataclass(frozen=True)
class Threshold:
    """The cosine above which two faces count as one person's.

    Args:
        cosine: in [-1, 1].
        origin: where it comes from, in words.
    """

    cosine: float
    origin: str = BY_HAND

    def __post_init__(self) -> None:
        if not -1 <= self.cosine <= 1:
            raise EvaluationError(f"threshold {self.cosine}: is no cosine; expected a number from -1 to 1. Correct it.")


@dataclass(frozen=True)
class Verdict:
    """How alike two faces are, and what follows from a threshold.

    Args:
        similarity: cosine of the two embeddings, in [-1, 1].
        threshold: None gives no verdict.
    """

    similarity: float
    threshold: Threshold | None = None

    @property
    def same(self) -> bool | None:
        """Whether both show one person; None without a threshold."""
        return None if self.threshold is None else self.similarity > self.threshold.cosine

    @property
    def words(self) -> str:
        """The verdict alone."""
        return {None: "no verdict", True: "same person", False: "different people"}[self.same]

    def __str__(self) -> str:
        if self.threshold is None:
            why = "no threshold was given: one that fits belongs to a model and the images it is used on"
        else:
            why = f"threshold {self.threshold.cosine:.4f}: {self.threshold.origin}"
        return f"similarity {self.similarity:.4f}, {self.words} ({why})"

    def facts(self) -> dict[str, float | str | bool | None]:
        """Return similarity, threshold, its origin and the verdict."""
        given = self.threshold
        return {
            "similarity": self.similarity,
            "threshold": None if given is None else given.cosine,
            "threshold_from": None if given is None else given.origin,
            "same": self.same,
        }


def compare_embeddings(first: np.ndarray, second: np.ndarray, threshold: Threshold | None = None) -> Verdict:
    """Return the verdict on two embeddings (D,)."""
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise EvaluationError(
            f"verify: embeddings {first.shape} and {second.shape}; expected two of one length (D,). Were they made by one model?"
        )
    one, other = (row.astype(np.float64) for row in (first, second))
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    if not np.isfinite(lengths) or lengths == 0:
        raise EvaluationError(
            "verify: an embedding is zero or not finite; expected numbers. Its model is damaged, or the row is empty."
        )
    return Verdict(float(np.clip(one @ other / lengths, -1, 1)), threshold)


def threshold_on(path: Path, embed: Embed, execution: Execution, far: float | None = None) -> Threshold:
    """Measure a threshold on a verification set, on images without mirror images.

    Of unit embeddings at a squared distance d the cosine is 1 - d / 2.

    Args:
        path: a `.bin`.
        embed: see `verify`.
        far: take the threshold that accepts at most this share of the different pairs; without it, the mean of the ten that are best on
            nine tenths each.

    Raises:
        EvaluationError: the set cannot be judged, or has too few different pairs for the share.
    """
    pairs, name = load_bin(path), path.name
    require_kinds(pairs.same, str(path))
    with execution.bar(name) as progress:
        rows = embed_plain(embed, pairs.images, execution.device, execution.batch_size, progress)
    verified = judge(pair_distances(rows), pairs.same, name)
    if far is not None:
        return _at(far, verified, name)
    cosine = 1 - float(verified.thresholds.mean()) / 2
    return Threshold(
        cosine,
        f"best on {name}, where {100 * verified.accuracy:.2f} % of {len(pairs.same)} pairs are judged right by thresholds chosen on others",
    )


def _at(far: float, verified: VerificationResult, name: str) -> Threshold:
    different = verified.distances[~verified.same]
    allowed = allowed_accepts(len(different), far)
    if not 1 <= allowed < len(different):
        raise EvaluationError(
            f"{name}: {len(different)} different pairs, and a share of {far:g} of them; expected at least {1 / len(different):.2g} and "
            "less than 1. Take a larger set, or another share."
        )
    limit = limit_of(different, allowed)
    accepted = float((verified.distances[verified.same] < limit).mean())
    return Threshold(
        max(-1.0, 1 - limit / 2),  # rounding can take a distance beyond 4
        f"accepts at most {far:g} of the {len(different)} different pairs of {name}, and {100 * accepted:.2f} % of the same",
    )
