"""1:1 verification as arcface_torch measures it, and TAR@FAR beside it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.errors import EvaluationError

Embed = Callable[[Tensor], Tensor]

FOLDS = 10
THRESHOLDS = np.arange(0, 4, 0.01)
FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True)
class VerificationResult:
    """What a verification set says of a model.

    Args:
        accuracy: mean over ten folds, in [0, 1] ("Accuracy-Flip").
        std: population standard deviation over the folds.
        xnorm: mean norm of the embeddings of plain and mirrored images.
        tar_at_far: over all pairs, the largest share of same pairs accepted while at most FAR of the different pairs are; None where
            there are fewer than 1 / FAR different pairs, so that the number would mean nothing.
        same: number of same pairs.
        different: number of different pairs.
    """

    accuracy: float
    std: float
    xnorm: float
    tar_at_far: dict[float, float | None]
    same: int
    different: int

    def summary(self) -> str:
        """Return one line; says how many impostor pairs there are where they do not support a FAR."""
        known = {far: tar for far, tar in self.tar_at_far.items() if tar is not None}
        rates = ", ".join(f"TAR@FAR={far:g} {tar:.4f}" for far, tar in known.items())
        short = f"; {self.different} impostor pairs support no FAR below {min(known, default=1):g}" if len(known) < len(self.tar_at_far) else ""
        return f"accuracy {self.accuracy:.4f} +- {self.std:.4f}, XNorm {self.xnorm:.2f}, {rates}{short}"


def verify(embed: Embed, pairs: VerificationSet, device: torch.device | str = "cpu", batch_size: int = 64) -> VerificationResult:
    """Measure a model: ten folds, image plus mirror image, squared distance of unit embeddings.

    Args:
        embed: (B, 3, H, W) float32 RGB in [-1, 1] on `device` to (B, D).
        pairs: images 2i and 2i + 1 are pair i.
        device: where the images go.
        batch_size: images at a time; the result does not depend on it.

    Raises:
        EvaluationError: fewer than ten pairs, pairs of one kind only, or embeddings that are not finite (B, D).
    """
    same = np.asarray(pairs.same, dtype=bool)
    if len(same) < FOLDS or same.all() or not same.any():
        raise EvaluationError(
            f"verification set: {int(same.sum())} same and {int((~same).sum())} different pairs; expected both kinds, at least {FOLDS} pairs."
        )
    plain, mirrored = embed_both(embed, pairs.images, torch.device(device), batch_size)
    xnorm = float(np.linalg.norm(np.concatenate([plain, mirrored]), axis=1).mean())
    distances = pair_distances(plain + mirrored)
    accuracies = fold_accuracies(distances, same)
    return VerificationResult(
        float(accuracies.mean()), float(accuracies.std()), xnorm, tar_at_far(distances, same), int(same.sum()), int((~same).sum())
    )


@torch.no_grad()
def embed_both(embed: Embed, images: np.ndarray, device: torch.device, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings (N, D), float32, of images (N, H, W, 3) uint8 and of their mirror images.

    Raises:
        EvaluationError: the model gives something else than finite (B, D).
    """
    if isinstance(embed, nn.Module):
        embed.eval()
    views: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for start in range(0, len(images), batch_size):
        pixels = torch.from_numpy(images[start : start + batch_size]).to(device).permute(0, 3, 1, 2)
        batch = (pixels.float() / 255 - 0.5) / 0.5
        for view, rows in zip((batch, batch.flip(-1)), views, strict=True):
            rows.append(_rows(embed(view.contiguous()), len(view)))
    return np.concatenate(views[0]), np.concatenate(views[1])


def pair_distances(embeddings: np.ndarray) -> np.ndarray:
    """Return squared distances (P,) of unit embeddings, in float64, pair i being rows 2i and 2i + 1."""
    rows = embeddings.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(norms == 0, 1, norms)
    return np.square(rows[0::2] - rows[1::2]).sum(axis=1)


def fold_accuracies(distances: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Return the accuracy on each fold at the first threshold that is best on the other nine.

    Folds are contiguous, the first ones a pair longer where they do not divide; a pair is accepted if its distance is below the threshold.
    """
    right = (distances[:, None] < THRESHOLDS) == same[:, None]  # (P, thresholds)
    folds = np.array_split(np.arange(len(same)), FOLDS)
    total = right.sum(axis=0)
    accuracies = []
    for fold in folds:
        inside = right[fold].sum(axis=0)
        share = (total - inside) / (len(same) - len(fold))
        accuracies.append(inside[np.argmax(share)] / len(fold))
    return np.array(accuracies)


def tar_at_far(distances: np.ndarray, same: np.ndarray) -> dict[float, float | None]:
    """Return TAR at each FAR over all pairs, strictly: the accepted share of different pairs never exceeds the FAR."""
    impostors = np.sort(distances[~same])
    genuine = distances[same]
    result: dict[float, float | None] = {}
    for far in FARS:
        if len(impostors) * far < 1 - 1e-9:
            result[far] = None
            continue
        allowed = int(np.floor(len(impostors) * far + 1e-9))
        limit = impostors[allowed] if allowed < len(impostors) else np.inf
        result[far] = float((genuine < limit).mean())
    return result


def _rows(embeddings: Tensor, expected: int) -> np.ndarray:
    """Return a batch's embeddings on the CPU, checked."""
    if embeddings.ndim != 2 or len(embeddings) != expected:
        raise EvaluationError(f"model: gave {tuple(embeddings.shape)} for {expected} images; expected ({expected}, D), one embedding per image.")
    if not torch.isfinite(embeddings).all():
        raise EvaluationError("model: an embedding is not finite; expected numbers. Its weights are damaged, or half precision overflowed.")
    return embeddings.float().cpu().numpy()
