"""1:1 verification as arcface_torch measures it, and TAR@FAR beside it."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class VerificationResult:
    """What a verification set says of a model.

    Args:
        accuracy: mean over ten folds, in [0, 1] ("Accuracy-Flip").
        std: population standard deviation over the folds.
        xnorm: mean norm of the embeddings of the plain and of the mirrored images.
        threshold: mean over the folds of the squared distance, in [0, 4], below which a pair is taken for the same.
        tar_at_far: see `tar_at_far`; None where there are too few different pairs for that FAR.
        same: number of same pairs.
        different: number of different (impostor) pairs.
    """

    accuracy: float
    std: float
    xnorm: float
    threshold: float
    tar_at_far: dict[float, float | None]
    same: int
    different: int

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return self.same + self.different

    def summary(self) -> str:
        """Return one line; where a FAR has no number, it says why."""
        parts = [f"accuracy {self.accuracy:.4f} +- {self.std:.4f}", f"XNorm {self.xnorm:.2f}"]
        parts += [f"TAR@FAR={far:g} {tar:.4f}" for far, tar in self.tar_at_far.items() if tar is not None]
        missing = [f"{far:g}" for far, tar in self.tar_at_far.items() if tar is None]
        line = ", ".join(parts)
        if missing:
            line += (
                f"; not measured at FAR={', '.join(missing)}: {self.different} impostor pairs support "
                f"no FAR below {1 / self.different:.2g}"
            )
        return line


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
    require_pairs(pairs, "verification set")
    same = np.asarray(pairs.same, dtype=bool)
    plain, mirrored = embed_both(embed, pairs.images, torch.device(device), batch_size, progress)
    distances = pair_distances(plain + mirrored)
    accuracies, thresholds = judge_folds(distances, same)
    return VerificationResult(
        accuracy=float(accuracies.mean()),
        std=float(accuracies.std()),
        xnorm=float(np.linalg.norm(np.concatenate([plain, mirrored]), axis=1).mean()),
        threshold=float(thresholds.mean()),
        tar_at_far=tar_at_far(distances, same),
        same=int(same.sum()),
        different=int((~same).sum()),
    )


def require_pairs(pairs: VerificationSet, where: str) -> None:
    """Check that a set can be judged in ten folds.

    Args:
        pairs: the set.
        where: what an error line begins with.

    Raises:
        EvaluationError: fewer than ten pairs, or pairs of one kind only.
    """
    same = np.asarray(pairs.same, dtype=bool)
    if len(same) < FOLDS or same.all() or not same.any():
        raise EvaluationError(
            f"{where}: {int(same.sum())} same and {int((~same).sum())} different pairs; expected both kinds "
            f"and at least {FOLDS} pairs, one a fold. Use a larger set."
        )


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
