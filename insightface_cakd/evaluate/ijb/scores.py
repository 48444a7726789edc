"""Scores of pairs of templates: dot products in float64."""

import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.evaluate.ijb.lists import Pairs
from insightface_cakd.evaluate.ijb.templates import Templates
from insightface_cakd.runtime.progress import Progress
from insightface_cakd.runtime.threads import one_thread_each

# A dot product within a matrix product takes an eighth of the time of one computed alone.
DENSE = 8
# Products that a thread holds at a time: 16 MiB, so that they are looked up in the processor's cache.
HELD = 1 << 21
# Pairs looked up at a time.
CHUNK = 1 << 18
# Second templates compared at a time: 2 MiB at 512 numbers each, which stay in the processor's cache.
STRIP = 512

FindRows = Callable[[np.ndarray], np.ndarray]


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
    gallery, probe = _occurring(enrolled or templates, pairs.first), _occurring(templates, pairs.second)
    if len(gallery.ids) * len(probe.ids) <= DENSE * len(pairs.first):
        return look_up(gallery, probe, pairs, workers, progress)
    return score_by_strips(enrolled or templates, templates, pairs, workers, progress)


def _occurring(templates: Templates, ids: np.ndarray) -> Templates:
    """Return the templates that occur in a column of pairs."""
    find, seen = row_finder(templates.ids), np.zeros(len(templates.ids), bool)
    for start in range(0, len(ids), CHUNK):
        seen[find(ids[start : start + CHUNK])] = True
    return Templates(templates.ids[seen], templates.features[seen])


def row_finder(ids: np.ndarray) -> FindRows:
    """Return what finds ids in an ascending list, as int32 rows."""
    if ids[-1] >= 1 << 22:
        return lambda wanted: np.searchsorted(ids, wanted).astype(np.int32)
    table = np.zeros(int(ids[-1]) + 1, np.int32)
    table[ids] = np.arange(len(ids), dtype=np.int32)
    return table.take


def look_up(
    gallery: Templates, probe: Templates, pairs: Pairs, workers: int = 2, progress: Progress | None = None
) -> np.ndarray:
    """Return the cosines (P,) of pairs, from matrix products.

    One product is of the whole gallery and a strip of the probe; its pairs are looked up before its memory is used for
    another one. Each thread computes and looks up products of its own.

    Args:
        gallery: first templates, as `probe` second ones.
    """
    width = max(HELD // len(gallery.ids), 1)
    strips = range(0, len(probe.ids), width)
    first, second = row_finder(gallery.ids), row_finder(probe.ids)
    order, bounds = _by_strip(second, pairs.second, width, len(strips), workers)
    rows, columns = torch.from_numpy(gallery.features), torch.from_numpy(probe.features)
    total = len(order)
    scores = np.empty(total)
    free: SimpleQueue[Tensor] = SimpleQueue()
    for _ in range(workers):
        free.put(torch.empty(width * len(rows), dtype=torch.float64))

    def compute(number: int, memory: Tensor) -> int:
        some, left = columns[strips[number] : strips[number] + width], strips[number]
        products = torch.mm(some, rows.T, out=memory[: len(some) * len(rows)].view(len(some), len(rows)))
        done = 0
        for start, (low, high) in zip(range(0, total, CHUNK), bounds[:, number : number + 2].tolist(), strict=True):
            part, chosen = slice(start, start + CHUNK), order[start + low : start + high].astype(np.int64)
            place = (second(pairs.second[part].take(chosen)) - np.int64(left)) * len(rows)
            place += first(pairs.first[part].take(chosen))
            scores[part][chosen] = products.numpy().reshape(-1).take(place)
            done += len(chosen)
        return done

    def work(number: int) -> int:
        memory = free.get()
        try:
            return compute(number, memory)
        finally:
            free.put(memory)

    with one_thread_each():
        _in_threads(work, range(len(strips)), workers, progress, total)
    return scores


def _by_strip(find: FindRows, ids: np.ndarray, width: int, strips: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each chunk of pairs sorted by strips of their second templates, which `ids` are.

    Returns uint32 (P,), numbers of pairs within their chunk, and int64 (chunks, strips + 1), where each strip starts.
    """
    chunks = range(0, len(ids), CHUNK)
    order, bounds = np.empty(len(ids), np.uint32), np.zeros((len(chunks), strips + 1), np.int64)

    def sort(start: int) -> None:
        strip = _narrow(find(ids[start : start + CHUNK]) // np.int32(width), strips)
        order[start : start + CHUNK] = np.argsort(strip, kind="stable")
        bounds[start // CHUNK, 1:] = np.cumsum(np.bincount(strip, minlength=strips))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(sort, chunks))
    return order, bounds


def score_by_strips(
    gallery: Templates, probe: Templates, pairs: Pairs, workers: int = 2, progress: Progress | None = None
) -> np.ndarray:
    """Return the cosines (P,) of pairs, each computed alone.

    The order is such that rows are found in the cache: pairs are sorted by strips of second templates, and within a
    strip by the first template. A strip's pairs are the entries of a sparse matrix, and PyTorch computes no other
    entries. Arguments are those of `look_up`.
    """
    first, second = row_finder(gallery.ids)(pairs.first), row_finder(probe.ids)(pairs.second)
    strip = second // np.int32(STRIP)
    order = np.argsort(_narrow(strip, len(probe.ids) // STRIP + 1), kind="stable")
    counts = np.bincount(strip)
    del strip
    ends = np.cumsum(counts)
    rows, columns = torch.from_numpy(gallery.features), torch.from_numpy(probe.features)
    scores = np.empty(len(order))

    def work(number: int) -> int:
        some = order[ends[number] - counts[number] : ends[number]]
        row = first[some]
        inner = np.argsort(_narrow(row, len(gallery.ids)), kind="stable")
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
