"""Identification among distractors, as MegaFace puts it: a person's other picture must be nearer than all strangers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.mixed.mixed import unit_rows
from insightface_cakd.evaluate.pairs.bootstrap import RESAMPLES, Interval, interval_of
from insightface_cakd.evaluate.pairs.verification import ROUNDING

# Rates whose threshold can be found without keeping a tenth of all scores.
FARS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# Scores that are computed at a time.
SCORES = 1 << 22


@dataclass(frozen=True)
class Ranked:
    """Rank-1 against so many distractors.

    Args:
        distractors: number of them.
        rank1: share of pairs (probe, enrolled picture of the same person) in which no distractor is as near.
        interval: of it, by bootstrap over the people.
    """

    distractors: int
    rank1: float
    interval: Interval


@dataclass(frozen=True)
class Identified:
    """What identification among distractors says of a model.

    Args:
        ranked: for growing numbers of distractors, all of them at last.
        tar: FAR -> share of pairs of one person above the threshold that so few (probe, distractor) scores reach, read
            strictly; None where there are too few such scores.
        pairs: number of ordered pairs of one person's pictures.
        people: number of people.
        impostors: number of (probe, distractor) scores.
    """

    ranked: tuple[Ranked, ...]
    tar: dict[float, float | None]
    pairs: int
    people: int
    impostors: int


@dataclass(frozen=True, eq=False)
class Genuine:
    """All ordered pairs of pictures of one person.

    Args:
        scores: cosines (G,).
        probe: place of the first picture, (G,).
        person: of both, (G,), from 0 on without gaps.
    """

    scores: np.ndarray
    probe: np.ndarray
    person: np.ndarray


def identify(probes: np.ndarray, people: Sequence[int], distractors: Iterable[np.ndarray], total: int) -> Identified:
    """Search every picture of every person among a growing number of distractors and one other picture of that person.

    Distractors are read once and never all in memory.

    Args:
        probes: embeddings (N, D) of people's pictures.
        people: whom each shows; with one picture only, it is left out.
        distractors: embeddings (n, D) piece by piece, in an order that was drawn by chance.
        total: how many distractors all pieces have.

    Raises:
        EvaluationError: nobody has two pictures, there are no distractors, embeddings are not finite or of other widths.

    Edge cases:
        A distractor that is exactly as near as the person's picture counts as nearer: equal embeddings find nobody.

    Source:
        Kemelmacher-Shlizerman et al., MegaFace, CVPR 2016 (arXiv:1512.00596), challenge 1.
    """
    _require_finite(probes, "probes")
    units, genuine = unit_rows(probes), genuine_pairs(probes, people)
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


def genuine_pairs(probes: np.ndarray, people: Sequence[int]) -> Genuine:
    """Return all ordered pairs of different pictures of one person, with their cosines.

    Args:
        probes: (N, D).
        people: (N,).

    Raises:
        EvaluationError: nobody has two pictures.
    """
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
    return Genuine(np.concatenate(scores), np.concatenate(first), np.concatenate(person))


def growing(total: int) -> list[int]:
    """Return 10, 100, 1000, ... below a total, and the total."""
    steps, size = [], 10
    while size < total:
        steps.append(size)
        size *= 10
    return [*steps, total]


def cut(pieces: Iterable[np.ndarray], marks: Sequence[int]) -> Iterator[tuple[int | None, np.ndarray]]:
    """Yield pieces that end at each mark: (rows so far if that is a mark, rows).

    Args:
        pieces: arrays (n, D).
        marks: ascending numbers of rows.
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
    """The highest of many scores, as many as the thresholds of some false accept rates need.

    Args:
        fars: rates.
        total: number of scores that will be added.
    """

    def __init__(self, fars: Sequence[float], total: int) -> None:
        self.allowed = {far: int(total * far + ROUNDING) for far in fars}
        self.room = max(self.allowed.values()) + 1
        self.floor = -np.inf
        self.waiting: list[np.ndarray] = []

    def add(self, scores: np.ndarray) -> None:
        """Take scores of any shape."""
        self.waiting.append(scores[scores > self.floor])
        if sum(map(len, self.waiting)) > 2 * self.room:
            self._settle()

    def _settle(self) -> np.ndarray:
        """Forget what is too low, and return the rest."""
        found = np.concatenate(self.waiting)
        if len(found) >= self.room:
            found = np.partition(found, len(found) - self.room)[-self.room :]
            self.floor = found.min()
        self.waiting = [found]
        return found

    def tar(self, genuine: np.ndarray) -> dict[float, float | None]:
        """Return the share of genuine scores above the threshold of each rate, None where it allows no false accept."""
        top = np.sort(self._settle())
        return {
            far: float((genuine > top[-1 - count]).mean()) if count else None for far, count in self.allowed.items()
        }


def _rank(genuine: Genuine, best: np.ndarray, distractors: int) -> Ranked:
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
