"""Embeddings of faces in memory, and of their mirror images."""

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.errors import EvaluationError
from insightface_cakd.networks.models import Embed
from insightface_cakd.networks.modes import evaluating
from insightface_cakd.runtime.progress import Progress
from insightface_cakd.runtime.ranks import gathered, rank, world_size

Seen = Callable[[Tensor], Tensor]


def embed_plain(
    embed: Embed, images: np.ndarray, device: torch.device, batch_size: int, progress: Progress | None = None
) -> np.ndarray:
    """Return the embeddings of images, float64 (N, D).

    Args:
        embed: see `verify`.
        images: uint8 (N, H, W, 3) RGB.
        device: where they go.
        batch_size: images per forward.
        progress: called with (images done, images in all).

    Raises:
        EvaluationError: the model's output is not finite or not of shape (B, D).
    """
    (rows,) = _embed(embed, images, (_as_it_is,), device, batch_size, progress)
    return rows


def embed_both(
    embed: Embed,
    images: np.ndarray,
    device: torch.device,
    batch_size: int,
    progress: Progress | None = None,
    shared: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings of images and of their mirror images.

    Both are float64 (N, D).

    Args:
        embed: see `verify`.
        images: uint8 (N, H, W, 3) RGB.
        device: where they go.
        batch_size: images per forward.
        progress: called with (images done, images in all).
        shared: each rank of a group embeds its part of the batches, and all return the whole.

    Raises:
        EvaluationError: the model's output is not finite or not of shape (B, D).
    """
    plain, mirrored = _embed(embed, images, (_as_it_is, _mirrored), device, batch_size, progress, shared)
    return plain, mirrored


def _as_it_is(batch: Tensor) -> Tensor:
    return batch


def _mirrored(batch: Tensor) -> Tensor:
    return batch.flip(-1)


@torch.no_grad()
def _embed(
    embed: Embed,
    images: np.ndarray,
    views: tuple[Seen, ...],
    device: torch.device,
    batch_size: int,
    progress: Progress | None,
    shared: bool = False,
) -> list[np.ndarray]:
    """Return the embeddings of images as each view shows them.

    An image that is there several times, as in most sets of pairs, is embedded once.
    """
    distinct, place = _distinct(images)
    images = images if len(distinct) == len(images) else images[distinct]
    rows: list[list[Tensor]] = [[] for _ in views]
    first, step = (rank(), world_size()) if shared else (0, 1)
    with evaluating(embed):
        for start in range(first * batch_size, len(images), step * batch_size):
            pixels = torch.from_numpy(images[start : start + batch_size]).to(device).permute(0, 3, 1, 2)
            batch = ((pixels.float() / 255 - 0.5) / 0.5).contiguous()  # (B, 3, H, W)
            for view, found in zip(views, rows, strict=True):
                found.append(_checked(embed(view(batch)), len(batch)))
            if progress:
                progress(start + len(batch), len(images))
    return [_joined(_of_all_ranks(found) if shared else found)[place] for found in rows]


def _distinct(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the distinct images, and for each image its place among them."""
    seen: dict[bytes, int] = {}
    place = np.array(
        [seen.setdefault(blake2b(np.ascontiguousarray(image).data).digest(), len(seen)) for image in images], np.int64
    )
    return np.unique(place, return_index=True)[1], place


def _checked(embeddings: Tensor, expected: int) -> Tensor:
    shape = tuple(embeddings.shape) if isinstance(embeddings, Tensor) else type(embeddings).__name__
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[0] != expected or not shape[1]:
        raise EvaluationError(
            f"model: gave {shape} for {expected} images; expected a tensor ({expected}, D), one embedding per image. "
            "In eval mode a network returns its embedding alone."
        )
    return embeddings.float()


def _of_all_ranks(batches: list[Tensor]) -> list[Tensor]:
    """Return the batches of all ranks in the order of the images."""
    parts = gathered([batch.cpu() for batch in batches])
    return [part[turn] for turn in range(len(parts[0])) for part in parts if turn < len(part)]


def _joined(batches: list[Tensor]) -> np.ndarray:
    """Return all embeddings on the CPU, checked once: a GPU need not wait in every batch."""
    rows = torch.cat(batches).cpu().double()
    bad = int((~rows.isfinite()).any(dim=1).sum())
    if bad:
        raise EvaluationError(
            f"model: {bad} of {len(rows)} embeddings are not finite; expected numbers. Its weights are damaged, or "
            "half precision overflowed: measure it in float32."
        )
    return rows.numpy()
