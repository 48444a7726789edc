"""A cache of tens of millions of images: how it opens, and how fast a batch is looked up."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
import torch

from insightface_cakd import __version__
from insightface_cakd.data.embedding_cache import CacheMeta, EmbeddingCache
from insightface_cakd.data.embedding_cache.reading import KEYS, META, ROWS
from insightface_cakd.data.embedding_cache.storage import FLOAT16, STORAGES
from insightface_cakd.report.tables import markdown_table

WIDTH, BATCH = 512, 128


def bench_cache(folder: Path, keys: int, batches: int) -> str:
    """Make a sparse cache, open it, look batches up, and return a table.

    The embeddings are a file with holes, which takes no room: reading them from a disk is not measured.

    Args:
        folder: where the cache goes; new.
        keys: images and mirror images.
        batches: of 128 random images.
    """
    _make(folder, keys)
    for path in folder.iterdir():
        _forget(path)
    before, started = _read_from_disk(), time.perf_counter()
    opened = EmbeddingCache.open(folder)
    seconds = time.perf_counter() - started
    read = f"{_read_from_disk() - before:.0f}"
    rows = [{"what": "open, nothing in memory", "milliseconds": f"{1e3 * seconds:.1f}", "MiB read": read}]
    draw = np.random.default_rng(1)
    wanted = [torch.from_numpy(opened.keys[np.sort(draw.integers(0, keys, BATCH))]) for _ in range(batches)]
    for turn in ("first time", "again"):
        times = [_seconds(opened, one) for one in wanted]
        rows.append({"what": f"look {BATCH} images up, {turn}", "milliseconds": f"{1e3 * median(times):.2f}"})
    return markdown_table(rows)


def _make(folder: Path, keys: int) -> None:
    folder.mkdir(parents=True)
    drawn = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, keys)
    drawn.sort()
    np.save(folder / KEYS, drawn)
    np.save(folder / ROWS, np.random.default_rng(2).permutation(keys))
    form = STORAGES[FLOAT16]
    shape = (keys, form.row_bytes(WIDTH))
    stored = np.memmap(folder / form.file, dtype=np.uint8, mode="w+", shape=shape)
    some = np.load(folder / ROWS, mmap_mode="r")[np.linspace(0, keys - 1, min(1024, keys)).astype(np.int64)]
    stored[some] = form.encode(torch.randn(len(some), WIDTH, generator=torch.Generator().manual_seed(0)))
    stored.flush()
    meta = CacheMeta("drawn", None, WIDTH, 112, keys // 2, keys, "", __version__)
    (folder / META).write_text(json.dumps(asdict(meta)), encoding="utf-8")


def _seconds(cache: EmbeddingCache, hashes: torch.Tensor) -> float:
    started = time.perf_counter()
    cache.find(hashes)
    return time.perf_counter() - started


def _forget(path: Path) -> None:
    """Write a file to the disk, and take it out of the system's memory."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read_from_disk() -> float:
    """Return what this process has read from disks, in MiB."""
    said = Path("/proc/self/io").read_text()
    return int(said.split("\nread_bytes: ")[1].split()[0]) / 2**20
