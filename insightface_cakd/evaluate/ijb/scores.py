"""Scores of pairs of templates: dot products in float64."""

import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.evaluate.ijb.lists import Pairs
from insightface_cakd.evaluate.ijb.templates import Templates
from insightface_cakd.runtime.progress import Progress

# A dot product within a matrix product takes an eighth of the time of one computed alone.
DENSE = 8
# Products in memory at a time: 1 GiB; IJB-C's galleries and probes need half of that.
HELD = 1 << 27
# Pairs looked up at a time.
CHUNK = 1 << 16
# Second templates compared at a time: 2 MiB at 512 numbers each, which stay in the processor's cache.
STRIP = 512


def score_pairs(
    templates: Templates,
    pairs: Pairs,
    workers: int = 2,
    progress: Progress | None = None,
    enrolled: Templates | None = None,
) -> np.ndarray:
    """Return the cosine (P,), float64, of each pair.

    Where pairs are dense, as in IJB's lists (a quarter to a half of all pairs of their galleries and probes), the
    products of all templates that occur are computed and looked up; elsewhere those of the pairs alone.

    Args:
        templates: of length 1.
        progress: called with (pairs done, pairs in all).
        enrolled: the first templates of pairs as another model embeds them; None where one model embeds both.
    """
    gallery = enrolled or templates
    first, second = places(gallery.ids, pairs.first), places(templates.ids, pairs.second)
    rows, columns = _used(first, len(gallery.ids)), _used(second, len(templates.ids))
    if len(rows) * len(columns) <= min(DENSE * len(first), HELD):
        first, second = places(rows, first), places(columns, second)
        return look_up(gallery.features[rows], templates.features[columns], first, second, workers, progress)
    return score_by_strips(gallery.features, templates.features, first, second, workers, progress)


def places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return where each wanted id is in an ascending list, as int32."""
    if ids[-1] < max(1 << 22, 4 * len(wanted)):
        table = np.zeros(int(ids[-1]) + 1, np.int32)
        table[ids] = np.arange(len(ids), dtype=np.int32)
        return table[wanted]
    return np.searchsorted(ids, wanted).astype(np.int32)


def _used(places: np.ndarray, limit: int) -> np.ndarray:
    """Return, ascending, the positions below a limit that occur."""
    seen = np.zeros(limit, bool)
    seen[places] = True
    return np.flatnonzero(seen)


def look_up(
    gallery: np.ndarray,
    probe: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    workers: int = 2,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return dot products (P,) of pairs of rows, from one matrix product.

    Args:
        gallery: float64 (R, D), of first templates, as `probe` (C, D) of second ones.
        first: int32 (P,), rows of the gallery, as `second` of the probe.
    """
    products = (gallery @ probe.T).reshape(-1)
    scores = np.empty(len(first))

    def work(start: int) -> int:
        some = slice(start, start + CHUNK)
        place = first[some] * np.int64(len(probe)) + second[some]
        np.take(products, place, out=scores[some], mode="clip")  # in its checking mode NumPy copies `out`
        return len(place)

    _in_threads(work, range(0, len(first), CHUNK), workers, progress, len(first))
    return scores


def score_by_strips(
    gallery: np.ndarray,
    probe: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    workers: int = 2,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the dot products (P,) of pairs of rows, each computed alone.

    The order is such that rows are found in the cache: pairs are sorted by strips of second templates, and within a
    strip by the first template. A strip's pairs are the entries of a sparse matrix, and PyTorch computes no other
    entries. Arguments are those of `look_up`.
    """
    strip = second // np.int32(STRIP)
    order = np.argsort(_narrow(strip, len(probe) // STRIP + 1), kind="stable")
    counts = np.bincount(strip)
    del strip
    ends = np.cumsum(counts)
    rows, columns = torch.from_numpy(gallery), torch.from_numpy(probe)
    scores = np.empty(len(order))

    def work(number: int) -> int:
        some = order[ends[number] - counts[number] : ends[number]]
        row = first[some]
        inner = np.argsort(_narrow(row, len(gallery)), kind="stable")
        some, left = some[inner], number * STRIP
        found = _sampled(rows, columns[left : left + STRIP], row[inner], second[some] - np.int32(left))
        scores[some] = found.numpy()
        return len(some)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # it is in beta, and repeated columns are not checked
        _in_threads(work, np.flatnonzero(counts).tolist(), workers, progress, len(order))
    return scores


def _in_threads(
    work: Callable[[int], int], parts: Iterable[int], workers: int, progress: Progress | None, total: int
) -> None:
    """Do all parts in threads; `work` returns its number of pairs."""
    with ThreadPoolExecutor(workers) as pool:
        done = 0
        for number in pool.map(work, parts):
            done += number
            if progress:
                progress(done, total)


def _sampled(rows: Tensor, columns: Tensor, row: np.ndarray, column: np.ndarray) -> Tensor:
    """Return the dot products (n,) of pairs of a row, ascending, and a column."""
    counts = np.bincount(row, minlength=len(rows))
    bounds = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    entries = torch.sparse_csr_tensor(
        bounds,
        torch.from_numpy(column),
        torch.zeros(len(row), dtype=rows.dtype),
        (len(rows), len(columns)),
        check_invariants=False,
    )
    return torch.sparse.sampled_addmm(entries, rows, columns.T, beta=0.0).values()


def _narrow(numbers: np.ndarray, limit: int) -> np.ndarray:
    """Return numbers in 8 or 16 bits if possible: NumPy radix-sorts these."""
    if limit > 1 << 16:
        return numbers
    return numbers.astype(np.uint8 if limit <= 1 << 8 else np.uint16)
