"""Small verification sets as files, ways to run, and models that are known."""

from pathlib import Path

import numpy as np
import torch

from insightface_cakd.data.bins import write_bin
from insightface_cakd.data.images import encode_png
from insightface_cakd.evaluate.execution import Execution


def run_on_cpu(batch: int = 8) -> Execution:
    """Return how to run without a progress bar."""
    return Execution(torch.device("cpu"), batch)


def write_set(path: Path, pairs: int = 20, seed: int = 0, same: list[bool] | None = None) -> Path:
    """Write faces of 4 x 4 colours; the second of a same pair is the first with noise."""
    random = np.random.default_rng(seed)
    alike = [number % 2 == 0 for number in range(pairs)] if same is None else same
    pairs = len(alike)
    coarse = random.integers(0, 256, (2 * pairs, 4, 4, 3))
    for pair in np.flatnonzero(alike):
        coarse[2 * pair + 1] = (coarse[2 * pair] + random.integers(-60, 61, (4, 4, 3))).clip(0, 255)
    images = coarse.astype(np.uint8).repeat(28, axis=1).repeat(28, axis=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bin(path, [encode_png(image) for image in images], alike)
    return path


def pooled(side: int = 4, gain: float = 1.0):
    """Return a model whose embedding is the averages of side x side fields."""

    def embed(images: torch.Tensor) -> torch.Tensor:
        return gain * torch.nn.functional.adaptive_avg_pool2d(images, side).flatten(1)

    return embed


def turned(width: int = 48, seed: int = 0):
    """Return a model with the same fields as `pooled(4)`, in a space of its own."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(48, width)))
    rotation = torch.from_numpy(matrix.astype(np.float32))
    return lambda images: pooled()(images) @ rotation


def not_a_number(images: torch.Tensor) -> torch.Tensor:
    """Be a model whose weights are damaged."""
    return torch.full((len(images), 48), torch.nan)
