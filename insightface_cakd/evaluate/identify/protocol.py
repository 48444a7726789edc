"""Identification among distractors, as in MegaFace: who is nearer than all strangers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.mixed.mixed import unit_rows
from insightface_cakd.evaluate.pairs.bootstrap import RESAMPLES, Interval, interval_of
from insightface_cakd.evaluate.pairs.verification import ROUNDING

# Rates whose thresholds need no more than the highest hundredth of all scores.
FARS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# Scores computed at a time.
SCORES = 1 << 22


@dataclass(frozen=True)
class Ranked:
    """Rank-1 among distractors, with a bootstrap interval over people.

    Rank-1 is the share of pairs (probe, enrolled picture of the same person) in which no distractor is as near.
    """

    distractors: int
    rank1: float
    interval: Interval


@dataclass(frozen=True)
class Identified:
    """The numbers of a model in identification among distractors.

    Args:
        ranked: rank-1 for growing numbers of distractors, the last being all of them.
        tar: FAR -> share of pairs of one person above the threshold that at most this share of the (probe, distractor)
            scores exceed, read strictly; None where there are too few such scores.
        impostors: number of (probe, distractor) scores.
    """

    ranked: tuple[Ranked, ...]
    tar: dict[float, float | None]
    pairs: int
    people: int
    impostors: int


@dataclass(frozen=True, eq=False)
class _Genuine:
    """All G ordered pairs of different pictures of one person.

    Cosines, row of the first picture, and number of the person from 0 on without gaps: each (G,).
    """

    scores: np.ndarray
    probe: np.ndarray
    person: np.ndarray


def identify(probes: np.ndarray, people: Sequence[int], distractors: Iterable[np.ndarray], total: int) -> Identified:
    """Search every picture among distractors and another of the same person.

    The number of distractors grows. They are read once and never all in memory. People with one picture are left out. A
    distractor that is exactly as near as the person's picture counts as nearer: equal embeddings find nobody.

    Args:
        probes: embeddings (N, D) of people's pictures.
        distractors: embeddings (n, D) piece by piece, in random order.

    Source:
        Kemelmacher-Shlizerman et al., MegaFace, CVPR 2016 (arXiv:1512.00596), challenge 1.
    """
    _require_finite(probes, "probes")
    units, genuine = unit_rows(probes), _genuine_pairs(probes, people)
    asked = np.unique(genuine.probe)
    if not total:
        raise EvaluationError(
            "identification: no distractors; expected at least one. Give a folder with faces of strangers."
        )
    kept = TopScores(FARS, total * len(asked))
    best = np.full(len(units), -np.inf)
    ranked = []
    for count, piece in cut(distractors, growing(total)):
        _require_finite(piece, "distractors")
        if piece.shape[1] != units.shape[1]:
            raise EvaluationError(
                f"identification: probes have {units.shape[1]} numbers, distractors {piece.shape[1]}; expected equal widths. "
                "Embed both with one model."
            )
        for part in np.array_split(unit_rows(piece), -(-len(piece) * len(asked) // SCORES)):
            scores = units[asked] @ part.T  # (asked, n)
            best[asked] = np.maximum(best[asked], scores.max(axis=1))
            kept.add(scores)
        if count is not None:
            ranked.append(_rank(genuine, best, count))
    return Identified(
        tuple(ranked), kept.tar(genuine.scores), len(genuine.scores), int(genuine.person.max()) + 1, total * len(asked)
    )


def _genuine_pairs(probes: np.ndarray, people: Sequence[int]) -> _Genuine:
    """Return all ordered pairs of one person's different pictures, from embeddings (N, D)."""
    units = unit_rows(probes)
    scores: list[np.ndarray] = []
    first: list[np.ndarray] = []
    person: list[np.ndarray] = []
    for name in np.unique(np.asarray(people)):
        places = np.flatnonzero(np.asarray(people) == name)
        if len(places) < 2:
            continue
        one, other = np.nonzero(~np.eye(len(places), dtype=bool))
        scores.append((units[places] @ units[places].T)[one, other])
        first.append(places[one])
        person.append(np.full(len(one), len(person)))
    if not scores:
        raise EvaluationError(
            "identification: nobody among the probes has two pictures; expected one to search and one to find. Add "
            "pictures."
        )
    return _Genuine(np.concatenate(scores), np.concatenate(first), np.concatenate(person))


def growing(total: int) -> list[int]:
    """Return 10, 100, 1000, ... below a total, and the total."""
    return [*(10**power for power in range(1, len(str(total))) if 10**power < total), total]


def cut(pieces: Iterable[np.ndarray], marks: Sequence[int]) -> Iterator[tuple[int | None, np.ndarray]]:
    """Split pieces (n, D) so that one ends at each mark.

    Yields pairs (mark, rows): the mark is the number of rows so far, None for a piece that ends at no mark.
    """
    done, waiting = 0, list(marks)
    for rest in pieces:
        while len(rest):
            taken = min(len(rest), waiting[0] - done) if waiting else len(rest)
            piece, rest = rest[:taken], rest[taken:]
            done += taken
            reached = bool(waiting) and done == waiting[0]
            yield (waiting.pop(0) if reached else None), piece


class TopScores:
    """The highest scores, as many as the rates' thresholds need."""

    def __init__(self, fars: Sequence[float], total: int) -> None:
        self.allowed = {far: int(total * far + ROUNDING) for far in fars}
        self.room = max(self.allowed.values()) + 1
        self.floor = -np.inf
        self.waiting: list[np.ndarray] = []

    def add(self, scores: np.ndarray) -> None:
        """Add scores of any shape."""
        self.waiting.append(scores[scores > self.floor])
        if sum(map(len, self.waiting)) > 2 * self.room:
            self._settle()

    def _settle(self) -> np.ndarray:
        """Drop scores that are too low, and return the rest."""
        found = np.concatenate(self.waiting)
        if len(found) >= self.room:
            found = np.partition(found, len(found) - self.room)[-self.room :]
            self.floor = found.min()
        self.waiting = [found]
        return found

    def tar(self, genuine: np.ndarray) -> dict[float, float | None]:
        """Return the share of genuine scores above each rate's threshold.

        It is None for a rate that allows no false accept.
        """
        top = np.sort(self._settle())
        return {
            far: float((genuine > top[-1 - count]).mean()) if count else None for far, count in self.allowed.items()
        }


def _rank(genuine: _Genuine, best: np.ndarray, distractors: int) -> Ranked:
    """Return rank-1, with an interval from resampled people."""
    found = genuine.scores > best[genuine.probe]
    hits = np.bincount(genuine.person, weights=found)
    pairs = np.bincount(genuine.person)
    random = np.random.default_rng(0)
    drawn = random.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), RESAMPLES)
    return Ranked(distractors, float(found.mean()), interval_of((drawn @ hits) / (drawn @ pairs)))


def _require_finite(rows: np.ndarray, what: str) -> None:
    bad = int((~np.isfinite(rows)).any(axis=1).sum())
    if bad:
        raise EvaluationError(
            f"identification: {bad} of {len(rows)} embeddings of {what} are not finite; expected numbers. Measure the model "
            "in float32."
        )
