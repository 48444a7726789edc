"""1:1 verification as in arcface_torch, and TAR@FAR beside it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.embeddings import embed_both
from insightface_cakd.networks.models import Embed
from insightface_cakd.runtime.progress import Progress

FOLDS = 10
THRESHOLDS = np.arange(0, 4, 0.01)
FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# 300 * 0.01 is 3.0000000000000004 or 2.9999999999999996, and must count as 3.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class VerificationResult:
    """A model's judgement of the pairs of a set in ten folds.

    Args:
        distances: (P,), squared, in [0, 4].
        same: bool (P,), whether both images show one person.
        thresholds: (10,), squared distance below which the pairs of a fold are judged the same.
        accuracies: (10,), one per fold.
        xnorm: mean norm of the embeddings of the plain and of the mirrored images; None where only distances are known.
    """

    distances: np.ndarray
    same: np.ndarray
    thresholds: np.ndarray
    accuracies: np.ndarray
    xnorm: float | None = None

    @property
    def accuracy(self) -> float:
        """Mean accuracy over the folds, in [0, 1] ("Accuracy-Flip")."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """Population standard deviation of the accuracy over the folds."""
        return float(self.accuracies.std())

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each pair is judged right, bool (P,)."""
        return self.right_at(self.thresholds)

    @cached_property
    def weights(self) -> np.ndarray:
        """Weight of each pair in the accuracy, (P,).

        Each fold has a tenth, divided among its pairs, so that the weights sum to 1.
        """
        sizes = fold_sizes(len(self.same))
        return np.repeat(1 / (FOLDS * sizes), sizes)

    @cached_property
    def tar_at_far(self) -> dict[float, float | None]:
        """FAR -> TAR, see the function `tar_at_far`.

        TAR is None where there are too few different pairs.
        """
        return tar_at_far(self.distances, self.same)

    def right_at(self, thresholds: np.ndarray) -> np.ndarray:
        """Return whether given thresholds judge each pair right, bool (P,).

        Args:
            thresholds: (10,), one per fold.
        """
        return (self.distances < np.repeat(thresholds, fold_sizes(len(self.same)))) == self.same


def verify(
    embed: Embed,
    pairs: VerificationSet,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    progress: Progress | None = None,
) -> VerificationResult:
    """Measure a model on a verification set.

    The embedding of a face is that of the image plus that of its mirror image, scaled to length 1; a pair's score is
    the squared distance. Each tenth of the pairs, in their order, is judged with the threshold that is best on the
    others.

    Args:
        embed: maps (B, 3, H, W) float32 RGB in [-1, 1] on `device` to (B, D); a module is in eval mode meanwhile.
        pairs: images 2i and 2i + 1 are pair i.
        device: where the images go.
        batch_size: images per forward; the result does not depend on it.
        progress: called with (images done, images in all).

    Raises:
        EvaluationError: fewer than ten pairs, pairs of one kind only, or embeddings that are not finite or not (B, D).

    Source:
        `test` of arcface_torch's eval/verification.py: same folds, thresholds and rounding, hence the same numbers.
    """
    require_kinds(pairs.same, "verification set")
    plain, mirrored = embed_both(embed, pairs.images, torch.device(device), batch_size, progress)
    return judge(pair_distances(plain + mirrored), pairs.same, "verification set", mean_norm(plain, mirrored))


def judge(distances: np.ndarray, same: np.ndarray, where: str, xnorm: float | None = None) -> VerificationResult:
    """Judge squared distances (P,), in [0, 4], in ten folds.

    Each fold is judged with the threshold that is best on the other nine. `where` begins an error message.
    """
    require_kinds(same, where)
    bad = int((~np.isfinite(distances)).sum())
    if bad:
        raise EvaluationError(
            f"{where}: {bad} of {len(distances)} distances are not finite; expected numbers. Its embeddings are damaged: "
            "extract them again, in float32."
        )
    same = np.asarray(same, dtype=bool)
    accuracies, thresholds = judge_folds(distances, same)
    return VerificationResult(distances, same, thresholds, accuracies, xnorm)


def require_kinds(same: np.ndarray, where: str) -> None:
    """Check that pairs, bool (P,), can be judged in ten folds."""
    same = np.asarray(same, dtype=bool)
    if len(same) < FOLDS or same.all() or not same.any():
        raise EvaluationError(
            f"{where}: {int(same.sum())} same and {int((~same).sum())} different pairs; expected both kinds "
            f"and at least {FOLDS} pairs, one a fold. Use a larger set."
        )


def fold_sizes(pairs: int) -> np.ndarray:
    """Return the sizes of ten contiguous folds, the larger ones first."""
    return np.array([len(fold) for fold in np.array_split(np.arange(pairs), FOLDS)])


def mean_norm(plain: np.ndarray, mirrored: np.ndarray) -> float:
    """Return XNorm, the mean norm of plain and mirrored embeddings."""
    return float(np.linalg.norm(np.concatenate([plain, mirrored]), axis=1).mean())


def pair_distances(embeddings: np.ndarray) -> np.ndarray:
    """Return the squared distances (P,), in [0, 4], of normalised pairs.

    Rows 2i and 2i + 1 of the embeddings (2P, D) are pair i. They are scaled to length 1; zero rows stay zero.
    """
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    units = embeddings / np.where(norms == 0, 1, norms)
    return np.square(units[0::2] - units[1::2]).sum(axis=1)


def judge_folds(distances: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the accuracy of each fold, and the threshold used.

    The threshold is the first of those that are best on the other nine folds. A pair is accepted if its distance is
    below the threshold, not at it.
    """
    right = (distances[:, None] < THRESHOLDS) == same[:, None]  # (P, thresholds)
    total = right.sum(axis=0)  # (thresholds,)
    folds = np.array_split(np.arange(len(same)), FOLDS)
    inside = np.stack([right[fold].sum(axis=0) for fold in folds])  # (folds, thresholds)
    chosen = np.argmax(total - inside, axis=1)  # (folds,)
    accuracies = inside[np.arange(FOLDS), chosen] / [len(fold) for fold in folds]
    return accuracies, THRESHOLDS[chosen]


def tar_at_far(distances: np.ndarray, same: np.ndarray) -> dict[float, float | None]:
    """Return TAR at FAR 1e-1 to 1e-6, read strictly, over all pairs.

    TAR@FAR=f is the largest share of same pairs that a threshold accepts while it accepts at most a share f of the
    different pairs: never the value at the nearest FAR, which may lie above f. Of distances (P,) a smaller one is more
    alike.

    Edge cases:
        Fewer than 1 / f different pairs: None. One false accept would already exceed f, so the number would depend on
        the single most similar pair.
    """
    genuine, impostors = distances[same], distances[~same]
    allowed = {far: allowed_accepts(len(impostors), far) for far in FARS}
    return {far: accepted_share(genuine, impostors, count) if count else None for far, count in allowed.items()}


def allowed_accepts(impostors: int, far: float) -> int:
    """Return how many impostors, of so many, a FAR lets in."""
    return int(impostors * far + ROUNDING)


def accepted_share(genuine: np.ndarray, impostors: np.ndarray, false_accepts: int) -> float:
    """Return the largest share of genuine pairs a threshold can accept.

    The threshold accepts at most `false_accepts` of the impostors, of which there are more. Both are distances.
    """
    return float((genuine < limit_of(impostors, false_accepts)).mean())


def limit_of(impostors: np.ndarray, false_accepts: int) -> float:
    """Return the distance below which at most so many impostors lie."""
    return float(np.partition(impostors, false_accepts)[false_accepts])
