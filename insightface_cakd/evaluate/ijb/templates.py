"""Templates: sums over media of means over images, scaled to length 1."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.presets import Mode, Preset
from insightface_cakd.evaluate.ijb.store import Embeddings

# Images per chunk; the arrays of one chunk stay in the processor's cache.
CHUNK = 1024


@dataclass(frozen=True)
class Templates:
    """Templates of length 1.

    Args:
        ids: int (T,), ascending.
        features: float64 (T, D).
    """

    ids: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Weighting:
    """Turns image embeddings into the weighted embeddings that are averaged.

    Args:
        scores: float32 (N,), the detector's.
    """

    embeddings: Embeddings
    scores: np.ndarray
    mode: Mode
    preset: Preset

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the weighted embeddings (n, D) of rows (n,)."""
        found = self.embeddings.plain[rows].astype(self.preset.pooled_in)
        if self.mode.flip:
            if self.embeddings.mirrored is None:
                raise EvaluationError(
                    f"mode {self.mode.letters}: the saved embeddings have none of mirror images; expected both for F1. Use "
                    f"--mode {self.mode.letters[:-1]}0, or give the model."
                )
            found += self.embeddings.mirrored[rows]
        if self.mode.normalised:
            squares = np.einsum("ij,ij->i", found, found) if self.preset.n1_normalises else np.sum(found**2, -1)
            norms = np.sqrt(squares)
            found /= np.where(norms < 10 * np.finfo(norms.dtype).eps, 1, norms)[:, None]
        if self.mode.detector:
            found *= self.scores[rows, None]
        return found


def pool_templates(
    weighting: Weighting, templates: np.ndarray, medias: np.ndarray, workers: int = 2, chunk: int = CHUNK
) -> Templates:
    """Return all templates of a set.

    Images are added in the order of their rows and media by their ids, in the preset's precision: as upstream does, so
    that templates are equal to the last bit, whatever the chunk.

    Args:
        templates: int (N,), template id of each face, as `medias`.
        chunk: images at a time, more where a template has more.
    """
    ids, rows = np.unique(templates), _usable(weighting.embeddings, templates)
    order = rows[np.lexsort((medias[rows], templates[rows]))]
    sums = np.empty((len(ids), weighting.embeddings.plain.shape[1]))
    pieces = list(_pieces(templates[order], chunk))

    def work(piece: tuple[int, int, int, int]) -> None:
        start, end, first, last = piece
        some = order[start:end]
        sums[first:last] = _pool(weighting(some), templates[some], medias[some])

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, pieces))
    finite = np.isfinite(sums).all(axis=1)
    if not finite.all():
        raise EvaluationError(
            f"embeddings: {int((~finite).sum())} of {len(ids)} templates have a NaN or infinite embedding (first: template "
            f"{ids[np.argmin(finite)]}); expected numbers. The saved embeddings are damaged: extract them again."
        )
    return Templates(ids, unit_rows(sums))


def _usable(embeddings: Embeddings, templates: np.ndarray) -> np.ndarray:
    """Return the rows whose image is not corrupt, some for each template."""
    used = np.ones(len(templates), bool)
    used[list(embeddings.corrupt)] = False
    lost = np.setdiff1d(templates, templates[used])
    if len(lost):
        raise EvaluationError(
            f"templates: {len(lost)} have no image left ({', '.join(map(str, lost[:5]))}), all of theirs are corrupt; expected "
            "at least one each. Replace the images."
        )
    return np.flatnonzero(used)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale rows to length 1 in place; those of length 0 stay."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    norms[norms < 10 * np.finfo(rows.dtype).eps] = 1
    rows /= norms[:, None]
    return rows


def _pieces(sorted_templates: np.ndarray, chunk: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield bounds of chunks that consist of whole templates.

    Each is first and last row, first and last template, the last ones exclusive.
    """
    bounds = np.append(_starts(sorted_templates), len(sorted_templates))
    first = 0
    while first < len(bounds) - 1:
        last = max(int(np.searchsorted(bounds, bounds[first] + chunk, "right")) - 1, first + 1)
        yield int(bounds[first]), int(bounds[last]), first, last
        first = last


def _pool(features: np.ndarray, templates: np.ndarray, medias: np.ndarray) -> np.ndarray:
    """Return the sums (T, D) of whole templates, sorted by medium within."""
    media_starts = np.flatnonzero(np.r_[True, (np.diff(templates) != 0) | (np.diff(medias) != 0)])
    counts = np.diff(np.append(media_starts, len(features)))
    means = _sum_groups(features, media_starts, counts)
    several = counts > 1
    means[several] /= counts[several, None].astype(features.dtype)
    starts = _starts(templates[media_starts])
    return _sum_groups(means, starts, np.diff(np.append(starts, len(means))))


def _starts(values: np.ndarray) -> np.ndarray:
    """Return where each run of equal values starts."""
    return np.flatnonzero(np.r_[True, np.diff(values) != 0])


def _sum_groups(rows: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the sum of each group of consecutive rows, added in order.

    `np.add.reduceat` would add in pairs, which rounds differently, and walk columns, which is slow.
    """
    by_size = np.argsort(-counts, kind="stable")
    starts, counts = starts[by_size], counts[by_size]
    sums = rows[starts]
    for place in range(1, int(counts[0])):
        longer = int(np.searchsorted(-counts, -place))
        sums[:longer] += rows[starts[:longer] + place]
    result = np.empty_like(sums)
    result[by_size] = sums
    return result
