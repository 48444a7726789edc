"""The verification protocol written as plain loops from its description: an oracle, and faces to try it on."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.data.bins import VerificationSet


def random_pairs(pairs: int, side: int = 8, seed: int = 0) -> VerificationSet:
    """Return random images; the second of a same pair is the first with noise, so that there is something to find."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (2 * pairs, side, side, 3)).astype(np.int64)
    same = generator.random(pairs) < 0.5
    noise = generator.integers(-140, 141, (pairs, side, side, 3))
    images[1::2][same] = images[0::2][same] + noise[same]
    return VerificationSet(images.clip(0, 255).astype(np.uint8), same)


def linear_embedder(side: int = 8, width: int = 5, seed: int = 0) -> tuple[Callable[[Tensor], Tensor], np.ndarray]:
    """Return a linear embedder that is not symmetric under mirroring, and its matrix (width, 3 * side * side)."""
    matrix = np.random.default_rng(seed).normal(size=(width, 3 * side * side)).astype(np.float32)
    weight = torch.from_numpy(matrix)
    return (lambda images: images.flatten(1) @ weight.to(images.device).T), matrix


def slow_distances(images: np.ndarray, matrix: np.ndarray) -> tuple[list[float], float]:
    """Return the squared distance of each pair, and the mean norm of the embeddings of both views."""
    units, norms = [], []
    for image in images:
        total = np.zeros(len(matrix))
        for view in (image, image[:, ::-1]):
            pixels = (view.transpose(2, 0, 1).astype(np.float64) / 255 - 0.5) / 0.5
            embedding = matrix.astype(np.float64) @ pixels.reshape(-1)
            norms.append(math.sqrt(sum(x * x for x in embedding)))
            total = total + embedding
        units.append(total / math.sqrt(sum(x * x for x in total)))
    pairs = range(len(images) // 2)
    return [sum((a - b) ** 2 for a, b in zip(units[2 * i], units[2 * i + 1], strict=True)) for i in pairs], float(
        np.mean(norms)
    )


def slow_folds(distances: list[float], same: np.ndarray) -> tuple[float, float, float]:
    """Return mean accuracy, population deviation and mean threshold of ten contiguous folds."""
    pairs = len(distances)
    sizes = [pairs // 10 + (1 if fold < pairs % 10 else 0) for fold in range(10)]
    accuracies, thresholds, start = [], [], 0
    for size in sizes:
        test = list(range(start, start + size))
        train = [i for i in range(pairs) if i not in test]
        best, chosen = -1.0, 0.0
        for step in range(400):
            threshold = step * 0.01
            accuracy = sum((distances[i] < threshold) == same[i] for i in train) / len(train)
            if accuracy > best:
                best, chosen = accuracy, threshold
        accuracies.append(sum((distances[i] < chosen) == same[i] for i in test) / size)
        thresholds.append(chosen)
        start += size
    mean = sum(accuracies) / 10
    return mean, math.sqrt(sum((a - mean) ** 2 for a in accuracies) / 10), sum(thresholds) / 10


def slow_tar(distances: list[float], same: np.ndarray, far: float) -> float:
    """Return the largest TAR of any threshold, between the distances and outside them, whose FAR is not above `far`."""
    genuine = [d for d, s in zip(distances, same, strict=True) if s]
    impostors = [d for d, s in zip(distances, same, strict=True) if not s]
    best = 0.0
    for threshold in [*distances, *(d + 1e-12 for d in distances), 5.0]:
        if sum(d < threshold for d in impostors) <= far * len(impostors) + 1e-9:
            best = max(best, sum(d < threshold for d in genuine) / len(genuine))
    return best
