"""1:1 verification as arcface_torch measures it, and TAR@FAR beside it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.errors import EvaluationError
from insightface_cakd.networks.models import Embed
from insightface_cakd.networks.modes import evaluating
from insightface_cakd.runtime.progress import Progress

FOLDS = 10
THRESHOLDS = np.arange(0, 4, 0.01)
FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# 300 * 0.01 is 3.0000000000000004 or 2.9999999999999996, and must count as 3.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class VerificationResult:
    """A model's answers to the pairs of a set, judged in ten folds.

    Args:
        distances: (P,), squared, in [0, 4].
        same: bool (P,).
        thresholds: (10,), the squared distance below which a fold's pairs are taken for the same.
        accuracies: (10,), of the folds.
        xnorm: mean norm of the embeddings of the plain and of the mirrored images; None where only distances are known.
    """

    distances: np.ndarray
    same: np.ndarray
    thresholds: np.ndarray
    accuracies: np.ndarray
    xnorm: float | None = None

    @property
    def accuracy(self) -> float:
        """Mean over the folds, in [0, 1] ("Accuracy-Flip")."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """Population standard deviation over the folds."""
        return float(self.accuracies.std())

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each pair is judged right, bool (P,)."""
        return self.right_at(self.thresholds)

    @cached_property
    def weights(self) -> np.ndarray:
        """What each pair counts in the accuracy, (P,): a tenth of its fold's share, so that they sum to 1."""
        sizes = fold_sizes(len(self.same))
        return np.repeat(1 / (FOLDS * sizes), sizes)

    @cached_property
    def tar_at_far(self) -> dict[float, float | None]:
        """TAR at each FAR, see `tar_at_far`; None where the different pairs are too few."""
        return tar_at_far(self.distances, self.same)

    def right_at(self, thresholds: np.ndarray) -> np.ndarray:
        """Return whether each pair is judged right by given thresholds of the folds, bool (P,).

        Args:
            thresholds: (10,).
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

    The embedding of a face is that of the image plus that of its mirror image, then of length 1; a pair's score is the
    squared distance. Each tenth of the pairs, in their order, is judged with the threshold that is best on the others.

    Args:
        embed: (B, 3, H, W) float32 RGB in [-1, 1] on `device` to (B, D); a module is in eval mode meanwhile.
        pairs: images 2i and 2i + 1 are pair i.
        device: where the images go.
        batch_size: images at a time; the result does not depend on it.
        progress: called with (images done, images in all).

    Raises:
        EvaluationError: fewer than ten pairs, pairs of one kind only, or embeddings that are no finite (B, D).

    Source:
        `test` of arcface_torch's eval/verification.py: same folds, thresholds and rounding, hence the same numbers.
    """
    require_kinds(pairs.same, "verification set")
    plain, mirrored = embed_both(embed, pairs.images, torch.device(device), batch_size, progress)
    return judge(pair_distances(plain + mirrored), pairs.same, "verification set", mean_norm(plain, mirrored))


def judge(distances: np.ndarray, same: np.ndarray, where: str, xnorm: float | None = None) -> VerificationResult:
    """Judge pairs in ten folds, each by the threshold that is best on the other nine.

    Args:
        distances: (P,), squared, in [0, 4].
        same: bool (P,).
        where: what an error line begins with.
        xnorm: mean norm of the embeddings, if it is known.

    Raises:
        EvaluationError: fewer than ten pairs, pairs of one kind only, or distances that are not finite.
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
    """Check that pairs can be judged in ten folds.

    Args:
        same: bool (P,).
        where: what an error line begins with.

    Raises:
        EvaluationError: fewer than ten pairs, or pairs of one kind only.
    """
    same = np.asarray(same, dtype=bool)
    if len(same) < FOLDS or same.all() or not same.any():
        raise EvaluationError(
            f"{where}: {int(same.sum())} same and {int((~same).sum())} different pairs; expected both kinds "
            f"and at least {FOLDS} pairs, one a fold. Use a larger set."
        )


def fold_sizes(pairs: int) -> np.ndarray:
    """Return the number of pairs of each of the ten contiguous folds, the first ones one longer where they do not divide."""
    return np.array([len(fold) for fold in np.array_split(np.arange(pairs), FOLDS)])


def mean_norm(plain: np.ndarray, mirrored: np.ndarray) -> float:
    """Return the mean norm of the embeddings of plain and of mirrored images, upstream's XNorm."""
    return float(np.linalg.norm(np.concatenate([plain, mirrored]), axis=1).mean())


@torch.no_grad()
def embed_both(
    embed: Embed, images: np.ndarray, device: torch.device, batch_size: int, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings (N, D), float64, of images (N, H, W, 3) uint8 RGB and of their mirror images.

    Args:
        embed: as for `verify`.
        images: the faces.
        device: where they go.
        batch_size: images at a time.
        progress: called with (images done, images in all).

    Raises:
        EvaluationError: the model gives something else than finite (B, D).
    """
    rows: tuple[list[Tensor], list[Tensor]] = ([], [])
    with evaluating(embed):
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(images[start : start + batch_size]).to(device).permute(0, 3, 1, 2)
            batch = ((pixels.float() / 255 - 0.5) / 0.5).contiguous()  # (B, 3, H, W)
            for view, found in zip((batch, batch.flip(-1)), rows, strict=True):
                found.append(_checked(embed(view), len(view)))
            if progress:
                progress(start + len(batch), len(images))
    return _joined(rows[0]), _joined(rows[1])


def pair_distances(embeddings: np.ndarray) -> np.ndarray:
    """Return squared distances (P,), in [0, 4], of pairs (2i, 2i + 1) of rows made unit length; zero rows stay zero."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    units = embeddings / np.where(norms == 0, 1, norms)
    return np.square(units[0::2] - units[1::2]).sum(axis=1)


def judge_folds(distances: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each fold, its accuracy and the threshold used: the first of those that are best on the other nine.

    Folds are contiguous, the first ones one pair longer where they do not divide. A pair is accepted if its distance is
    below the threshold, not at it.

    Args:
        distances: (P,), P >= 10.
        same: bool (P,).
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
    different pairs: never the value at the nearest FAR, which may lie above f.

    Args:
        distances: (P,), smaller is more alike.
        same: bool (P,).

    Edge cases:
        Fewer than 1 / f different pairs: None. One false accept would already be more than f, so the number would
        say how the single most similar pair happens to look.
    """
    genuine, impostors = distances[same], distances[~same]
    allowed = {far: int(len(impostors) * far + ROUNDING) for far in FARS}
    return {far: accepted_share(genuine, impostors, count) if count else None for far, count in allowed.items()}


def accepted_share(genuine: np.ndarray, impostors: np.ndarray, false_accepts: int) -> float:
    """Return the largest share of genuine pairs accepted by a threshold that accepts at most so many impostors.

    Args:
        genuine: distances of same pairs.
        impostors: distances of different pairs.
        false_accepts: how many of these may be accepted, fewer than there are.
    """
    limit = np.partition(impostors, false_accepts)[false_accepts]
    return float((genuine < limit).mean())


def _checked(embeddings: Tensor, expected: int) -> Tensor:
    """Return a batch of embeddings as it is, if it is one."""
    shape = tuple(embeddings.shape) if isinstance(embeddings, Tensor) else type(embeddings).__name__
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[0] != expected or not shape[1]:
        raise EvaluationError(
            f"model: gave {shape} for {expected} images; expected a tensor ({expected}, D), one embedding per image. "
            "In eval mode a network returns its embedding alone."
        )
    return embeddings.float()


def _joined(batches: list[Tensor]) -> np.ndarray:
    """Return all embeddings of one view on the CPU; checked once, so that a GPU need not wait in every batch."""
    rows = torch.cat(batches).cpu().double()
    bad = int((~rows.isfinite()).any(dim=1).sum())
    if bad:
        raise EvaluationError(
            f"model: {bad} of {len(rows)} embeddings are not finite; expected numbers. Its weights are damaged, or "
            "half precision overflowed: measure it in float32."
        )
    return rows.numpy()
