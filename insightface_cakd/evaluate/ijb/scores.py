"""Scores of pairs of templates: dot products in float64, sorted by place where pairs are many."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.evaluate.ijb.lists import Pairs
from insightface_cakd.evaluate.ijb.templates import Templates
from insightface_cakd.evaluate.verification import Progress

# Up to here each pair is multiplied with upstream's own operations.
FEW_PAIRS = 200_000
CHUNK = 10_000
# Second templates that are compared at a time: 2 MiB of 512 numbers each, which stay in the processor's cache.
STRIP = 512


def score_pairs(templates: Templates, pairs: Pairs, workers: int = 2, progress: Progress | None = None) -> np.ndarray:
    """Return the cosine (P,), float64, of each pair.

    The same two templates have the same score in either order, to the last bit: ties stay ties.

    Args:
        templates: of length 1.
        pairs: ids that are all among them.
        workers: threads.
        progress: called with (pairs done, pairs in all).
    """
    first, second = places(templates.ids, pairs.first), places(templates.ids, pairs.second)
    if len(first) <= FEW_PAIRS:
        return score_one_by_one(templates.features, first, second)
    return score_by_strips(templates.features, first, second, workers, progress)


def places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return, as int32, where ids that are all there lie in the ascending list."""
    if ids[-1] < max(1 << 22, 4 * len(wanted)):
        table = np.zeros(int(ids[-1]) + 1, np.int32)
        table[ids] = np.arange(len(ids), dtype=np.int32)
        return table[wanted]
    return np.searchsorted(ids, wanted).astype(np.int32)


def score_one_by_one(features: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the dot products (P,) of rows, chunk by chunk."""
    scores = np.empty(len(first))
    for start in range(0, len(first), CHUNK):
        some = slice(start, start + CHUNK)
        scores[some] = np.sum(features[first[some]] * features[second[some]], -1)
    return scores


def score_by_strips(
    features: np.ndarray, first: np.ndarray, second: np.ndarray, workers: int = 2, progress: Progress | None = None
) -> np.ndarray:
    """Return the dot products (P,) of rows, each computed alone, in an order in which rows are found in the cache.

    Pairs are sorted by strips of second templates, and there by the first. A strip's pairs are the entries of a sparse matrix,
    which PyTorch computes nowhere else: of all pairs of IJB-C's templates, 3 % are asked for.

    Args:
        features: float64 (T, D).
        first: int32 (P,), places of first templates.
        second: int32 (P,).
        workers: threads.
        progress: called with (pairs done, pairs in all).
    """
    strip = second // np.int32(STRIP)
    order = np.argsort(_narrow(strip, len(features) // STRIP + 1), kind="stable")
    counts = np.bincount(strip)
    del strip
    ends = np.cumsum(counts)
    rows = torch.from_numpy(features)
    scores = np.empty(len(order))

    def work(number: int) -> None:
        some = order[ends[number] - counts[number] : ends[number]]
        row = first[some]
        inner = np.argsort(_narrow(row, len(features)), kind="stable")
        some, left = some[inner], number * STRIP
        found = _sampled(rows, rows[left : left + STRIP], row[inner], second[some] - np.int32(left))
        scores[some] = found.numpy()

    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.filterwarnings("ignore", message="Sparse")  # that it is in beta, and that columns may repeat unchecked
        done = 0
        used = np.flatnonzero(counts).tolist()
        for number, _ in zip(used, pool.map(work, used), strict=True):
            done += int(counts[number])
            if progress:
                progress(done, len(order))
    return scores


def _sampled(rows: Tensor, columns: Tensor, row: np.ndarray, column: np.ndarray) -> Tensor:
    """Return the dot products (n,) of pairs of a row and a column.

    Args:
        rows: (R, D).
        columns: (C, D).
        row: (n,), ascending.
        column: int32 (n,).
    """
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
    """Return numbers below a limit in 8 or 16 bits if they fit: these numpy sorts by radix."""
    if limit > 1 << 16:
        return numbers
    return numbers.astype(np.uint8 if limit <= 1 << 8 else np.uint16)
