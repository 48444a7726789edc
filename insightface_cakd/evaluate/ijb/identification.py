"""1:N identification of probes in two galleries, as in ijb_evals."""

from dataclasses import dataclass

import numpy as np

from insightface_cakd.evaluate.ijb.gallery import Enrolment, Search
from insightface_cakd.evaluate.ijb.scores import row_finder
from insightface_cakd.evaluate.ijb.templates import Templates
from insightface_cakd.evaluate.pairs.verification import ROUNDING

RANKS = (1, 5, 10)
# Upstream's own floats, every 25th of its 100: one that rounds differently would give another threshold.
FPIRS = (*(float(10**exponent) for exponent in np.arange(-4, 0, 0.04)[::25]), 1.0)
CHUNK = 1024


@dataclass(frozen=True)
class GalleryResult:
    """Identification in one gallery; false alarm rates are in (0, 1].

    Args:
        ranked: rank -> number of mated probes whose subject is among that many best.
        correct: scores of mated probes with their own subject, ascending; without those beaten by another subject.
        strangers: best scores of probes whose subject is not in the gallery, descending.
    """

    ranked: dict[int, int]
    correct: np.ndarray
    strangers: np.ndarray
    mated: int
    size: int

    def allowed(self, fpir: float) -> int:
        """Return how many false alarms a rate allows."""
        return int(len(self.strangers) * fpir + ROUNDING)

    def threshold(self, fpir: float) -> float | None:
        """Return upstream's threshold, None where all probes are mated."""
        if not len(self.strangers):
            return None
        return float(self.strangers[max(int(len(self.strangers) * fpir) - 1, 0)])

    def tpir(self, fpir: float) -> float | None:
        """Return the share of mated probes found first, above upstream's threshold.

        It is None without mated or without non-mated probes.
        """
        threshold = self.threshold(fpir)
        return None if threshold is None or not self.mated else self._found_above(threshold)

    def tpir_strict(self, fpir: float) -> float | None:
        """Return the largest TPIR at which the false alarm rate is kept.

        TPIR is the share of mated probes found first and above a threshold, which may give at most a share `fpir` of false
        alarms. None without a mated probe, or with fewer than 1 / fpir probes without a mate.
        """
        allowed = self.allowed(fpir)
        if not allowed or not self.mated:
            return None
        return self._found_above(self.strangers[allowed] if allowed < len(self.strangers) else -np.inf)

    def rank(self, rank: int) -> float | None:
        """Return the share of mated probes among the `rank` best, or None."""
        return self.ranked[rank] / self.mated if self.mated else None

    def _found_above(self, threshold: float) -> float:
        return (len(self.correct) - int(np.searchsorted(self.correct, threshold, "right"))) / self.mated


@dataclass(frozen=True)
class Identification:
    """Identification in both galleries."""

    galleries: tuple[GalleryResult, GalleryResult]
    probes: int

    def mean_rank(self, rank: int) -> float:
        """Return upstream's "Mean": both galleries' counts over all probes."""
        return sum(gallery.ranked[rank] for gallery in self.galleries) / self.probes

    def mean_tpir(self, fpir: float, strict: bool = False) -> float | None:
        """Return the mean of both galleries' TPIR, None where one has none."""
        found = [gallery.tpir_strict(fpir) if strict else gallery.tpir(fpir) for gallery in self.galleries]
        return None if None in found else sum(value for value in found if value is not None) / len(found)


def identify(templates: Templates, search: Search, enrolled: Templates | None = None) -> Identification:
    """Search every probe in both galleries.

    Args:
        templates: of length 1, including all galleries' and probes'.
        enrolled: of the galleries as another model embeds them; None where one model embeds everything.
    """
    known = enrolled or templates
    first, second = (_search_one(known, templates, gallery, search.probes) for gallery in search.galleries)
    return Identification((first, second), len(search.probes.templates))


def _search_one(known: Templates, templates: Templates, gallery: Enrolment, probes: Enrolment) -> GalleryResult:
    enrolled = known.features[row_finder(known.ids)(gallery.templates)]
    rows = row_finder(templates.ids)(probes.templates)
    by_subject = np.argsort(gallery.subjects)
    near = np.searchsorted(gallery.subjects, probes.subjects, sorter=by_subject).clip(max=len(by_subject) - 1)
    mates = by_subject[near]  # row in the gallery, valid where the subject is enrolled
    is_mated = gallery.subjects[mates] == probes.subjects
    ranks, correct, strangers = [], [], []
    for start in range(0, len(rows), CHUNK):
        some = slice(start, start + CHUNK)
        scores = templates.features[rows[some]] @ enrolled.T  # (chunk, G)
        mated = is_mated[some]
        strangers.append(scores[~mated].max(axis=1))
        rank, own, best_other = _against_mates(scores[mated], mates[some][mated])
        ranks.append(rank)
        correct.append(own[own > best_other])
    rank = np.concatenate(ranks)
    return GalleryResult(
        ranked={count: int((rank < count).sum()) for count in RANKS},
        correct=np.sort(np.concatenate(correct)),
        strangers=np.sort(np.concatenate(strangers))[::-1],
        mated=int(is_mated.sum()),
        size=len(enrolled),
    )


def _against_mates(scores: np.ndarray, mates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare the score of each mated probe's mate with all others, (n, G).

    Returns how many entries rank before the mate, the mate's score, and the best score of the others, (n,) each. Of
    equal scores the later in the gallery ranks first, as in upstream's reversed sort.
    """
    at = np.arange(len(scores))
    own = scores[at, mates]
    before = scores > own[:, None]
    before |= (scores == own[:, None]) & (np.arange(scores.shape[1]) > mates[:, None])
    others = scores
    others[at, mates] = -np.inf
    best = others.max(axis=1) if len(others) else np.empty(0)
    return before.sum(axis=1), own, best
