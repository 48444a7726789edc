"""Writes a cache of teacher embeddings of images and mirror images."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from insightface_cakd import __version__
from insightface_cakd.data.answers import Answers
from insightface_cakd.data.embedding_cache.hashing import image_hash
from insightface_cakd.data.embedding_cache.reading import EMBEDDINGS, KEYS, META, ONE_AND_ITS_MIRROR, ROWS, CacheMeta
from insightface_cakd.errors import DataError, TeacherError
from insightface_cakd.runtime.atomic import require_new, writing
from insightface_cakd.runtime.progress import Progress

# Half precision keeps 11 bits, a relative error of at most 5e-4; a larger error means values outside its range.
WORST_ROUNDING = 1e-3
SILENT = "Nothing is written. Are its weights, and the order and range of colours that it is given, right?"


class Embeds(Protocol):
    """The interface of a teacher that `write_cache` needs."""

    name: str
    sha256: str | None
    device: torch.device

    @property
    def takes(self) -> object:
        """How it takes the pixels, as text that `str` makes of it."""

    @property
    def embedding_size(self) -> int:
        """Width of the embedding."""

    def __call__(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) in [-1, 1] to (B, embedding_size)."""


def write_cache(
    teacher: Embeds,
    images: Iterable[np.ndarray | Tensor],
    out: str | Path,
    progress: Progress | None = None,
    total: int = 0,
) -> CacheMeta:
    """Write a teacher's embeddings of images and their mirror images.

    Two different images that share a hash are an error, and so are embeddings that half precision cannot represent, or that say nothing:
    not finite, all zero, or the same for all images.

    Args:
        images: batches (B, S, S, 3), uint8, RGB, all of one size S; duplicates are allowed.
        progress: called with (images done, `total`) after every batch.
    """
    target = Path(out).expanduser()
    where = f"cache {target}"
    require_new(target, DataError)
    report = progress or (lambda done, total: None)
    with writing(target, DataError, where) as temporary:
        temporary.mkdir()
        seen = Answers(f"teacher {teacher.name}", SILENT)
        hashes, side = _embed(teacher, images, temporary / EMBEDDINGS, where, lambda n: report(n, total), seen)
        keys = _save_table(hashes, temporary, where)
        if len(keys) > ONE_AND_ITS_MIRROR:
            seen.require_different()
        data = hashlib.sha256(keys.astype("<i8").tobytes()).hexdigest()
        width, rows = teacher.embedding_size, len(hashes[0])
        meta = CacheMeta(
            teacher.name, teacher.sha256, width, side, rows // 2, rows, data, __version__, str(teacher.takes)
        )
        (temporary / META).write_text(json.dumps(asdict(meta), indent=1), encoding="utf-8")
    return meta


def _embed(
    teacher: Embeds,
    images: Iterable[np.ndarray | Tensor],
    path: Path,
    where: str,
    progress: Callable[[int], None],
    seen: Answers,
) -> tuple[np.ndarray, int]:
    """Write the embeddings; return two hashes of each row, (2, rows), and the side of the images."""
    done, side = 0, 0
    hashes: list[np.ndarray] = []
    with path.open("wb") as file:
        for batch in images:
            pixels = _as_pixels(batch, side, where).to(teacher.device)
            done, side = done + len(pixels), pixels.shape[-1]
            for view in (pixels, pixels.flip(-1)):
                embeddings = teacher((view.float() - 127.5) / 127.5)
                seen.add(embeddings)
                file.write(_half(embeddings, teacher.name).tobytes())
                hashes.append(np.stack([image_hash(view, seed).cpu().numpy() for seed in (0, 1)]))
            progress(done)
    if not hashes:
        raise DataError(f"{where}: no image came; expected at least one. Is the record file empty?")
    return np.concatenate(hashes, axis=1), side


def _save_table(hashes: np.ndarray, folder: Path, where: str) -> np.ndarray:
    """Write the sorted unique keys and the row of each; return the keys."""
    keys, rows, which = np.unique(hashes[0], return_index=True, return_inverse=True)
    # A second, independent hash verifies that equal keys mean equal pixels.
    if (hashes[1][rows][which] != hashes[1]).any():
        raise DataError(
            f"{where}: two different images have one 64-bit hash; expected different hashes. Leave one of them out."
        )
    np.save(folder / KEYS, keys)
    np.save(folder / ROWS, rows.astype(np.int64))
    return keys


def _as_pixels(batch: np.ndarray | Tensor, side: int, where: str) -> Tensor:
    """Return a batch (B, S, S, 3) as (B, 3, S, S); S is `side`, unless that is 0."""
    pixels = torch.as_tensor(batch)
    square = pixels.ndim == 4 and pixels.shape[1] == pixels.shape[2] and pixels.shape[3] == 3
    if not square or pixels.dtype != torch.uint8 or side not in (0, pixels.shape[1]):
        found, wanted = f"{tuple(pixels.shape)} of {pixels.dtype}", side or "S"
        raise DataError(f"{where}: a batch is {found}; expected (B, {wanted}, {wanted}, 3) of torch.uint8, RGB.")
    return pixels.permute(0, 3, 1, 2).contiguous()


def _half(embeddings: Tensor, name: str) -> np.ndarray:
    """Round embeddings to half precision, or raise `TeacherError`."""
    half = embeddings.to(torch.float16)
    error = ((half.float() - embeddings).norm(dim=1) / embeddings.norm(dim=1).clamp_min(1e-12)).max().item()
    if not error < WORST_ROUNDING:
        raise TeacherError(
            f"teacher {name}: half precision changes an embedding by {error:.2g} of its length (largest value "
            f"{embeddings.abs().max().item():.3g}); expected less than {WORST_ROUNDING}. Are its weights and its "
            "input range right?"
        )
    return half.cpu().numpy()
