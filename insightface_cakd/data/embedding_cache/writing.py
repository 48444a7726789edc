"""Writes a cache of teacher embeddings of images and mirror images."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from insightface_cakd import __version__
from insightface_cakd.data.answers import Answers, check_answers, looked_at
from insightface_cakd.data.embedding_cache.hashing import image_hash
from insightface_cakd.data.embedding_cache.reading import (
    KEYS,
    META,
    ONE_AND_ITS_MIRROR,
    ROWS,
    CacheMeta,
    EmbeddingCache,
    map_embeddings,
)
from insightface_cakd.data.embedding_cache.storage import FLOAT16, STORAGES, encoded
from insightface_cakd.data.face_batches import read_ahead
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.atomic import require_new, writing
from insightface_cakd.runtime.long_job import LongJob, Phase, long_job
from insightface_cakd.runtime.progress import Progress
from insightface_cakd.runtime.ranks import first_decides, rank

# Batches of a block, which is lost when the job is killed within it.
BLOCK = 16
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
    images: Sequence[np.ndarray | Tensor],
    out: str | Path,
    progress: Progress | None = None,
    total: int = 0,
    data: str | None = None,
    workers: int = 0,
    storage: str = FLOAT16,
) -> CacheMeta:
    """Write a teacher's embeddings of images and their mirror images.

    All ranks of a group share the work, and a stopped call is gone on with: the files are the same, see `long_job`.

    Two different images that share a hash are an error, and so are embeddings that the storage cannot represent, or that say nothing:
    not finite, all zero, or the same for all images.

    Args:
        images: batches (B, S, S, 3), uint8, RGB, all of one size S; duplicates are allowed. All but the last have the same B.
        progress: called with (images done, `total`) after every batch.
        total: number of images.
        data: identifies the images, such as `data_set_hash`; None keeps nothing of a stopped call.
        workers: processes that read images beside the teacher.
        storage: how an embedding is kept, a key of `STORAGES`.

    Raises:
        DataError: see above; or the target is in use.
        TeacherError: see above.
    """
    target = Path(out).expanduser()
    where = f"cache {target}"
    with first_decides():
        if rank() == 0:
            require_new(target, DataError)
    if not len(images):
        raise DataError(f"{where}: no image came; expected at least one. Is the record file empty?")
    report = progress or (lambda done, total: None)
    origin = None if data is None else origin_of("teacher cache", teacher, data, storage=storage)
    phase = Phase("embedded", len(images), BLOCK)
    with long_job(target, origin, DataError) as job:
        _embed_mine(teacher, images, job, phase, where, storage, lambda done: report(done, total), workers)
        blocks = job.blocks(phase)
        if rank() == 0:
            with writing(target, DataError, where) as temporary:
                temporary.mkdir()
                _join(blocks, temporary, teacher, where, storage)
    return EmbeddingCache.open(target).meta


def origin_of(kind: str, teacher: Embeds, data: str, **more: object) -> dict[str, object]:
    """Return what a job depends on that runs a teacher over images.

    Args:
        kind: of the job.
        data: identifies the images.
        more: what else it depends on.
    """
    return {
        "kind": kind,
        "data": data,
        "version": __version__,
        "teacher": teacher.name,
        "teacher_sha256": teacher.sha256,
        "takes": str(teacher.takes),
        "embedding_size": teacher.embedding_size,
        **more,
    }


def _embed_mine(
    teacher: Embeds,
    images: Sequence[np.ndarray | Tensor],
    job: LongJob,
    phase: Phase,
    where: str,
    storage: str,
    progress: Callable[[int], None],
    workers: int,
) -> None:
    """Embed the blocks of this rank that are missing."""
    spans = job.mine(phase)
    batches = read_ahead(images, [number for span in spans.values() for number in span], workers)
    side, size = 0, len(images[0])
    for block, span in spans.items():
        done = job.done(phase) * size
        seen = Answers(f"teacher {teacher.name}", SILENT, first=2 * size * span[0])
        rows: list[np.ndarray] = []
        hashes: list[np.ndarray] = []
        for batch in islice(batches, len(span)):
            pixels = _as_pixels(batch, side, where).to(teacher.device)
            done, side = done + len(pixels), pixels.shape[-1]
            for view in (pixels, pixels.flip(-1)):
                embeddings = teacher((view.float() - 127.5) / 127.5)
                seen.add(embeddings)
                rows.append(encoded(embeddings.float(), storage, teacher.name))
                hashes.append(np.stack([image_hash(view, seed).cpu().numpy() for seed in (0, 1)]))
            progress(done)
        joined = {"rows": np.concatenate(rows), "hashes": np.concatenate(hashes, axis=1), "side": np.array(side)}
        job.save(phase, block, joined)


def _join(blocks: Iterable[dict[str, np.ndarray]], folder: Path, teacher: Embeds, where: str, storage: str) -> None:
    """Write the cache of all blocks."""
    hashes: list[np.ndarray] = []
    sides: set[int] = set()
    with (folder / STORAGES[storage].file).open("wb") as file:
        for block in blocks:
            file.write(block["rows"].tobytes())
            hashes.append(block["hashes"])
            sides.add(int(block["side"]))
    if len(sides) > 1:
        raise DataError(f"{where}: images of sides {sorted(sides)}; expected one. Pack those of one size.")
    both = np.concatenate(hashes, axis=1)
    keys = _save_table(both, folder, where)
    data = hashlib.sha256(keys.astype("<i8").tobytes()).hexdigest()
    width, rows = teacher.embedding_size, both.shape[1]
    meta = CacheMeta(
        teacher.name,
        teacher.sha256,
        width,
        sides.pop(),
        rows // 2,
        rows,
        data,
        __version__,
        str(teacher.takes),
        storage,
    )
    if len(keys) > ONE_AND_ITS_MIRROR:
        stored = map_embeddings(folder, meta)[looked_at(rows)]
        check_answers(STORAGES[storage].decode(stored), f"teacher {teacher.name}", SILENT)
    (folder / META).write_text(json.dumps(asdict(meta), indent=1), encoding="utf-8")


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
