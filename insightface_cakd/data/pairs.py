"""Draws verification pairs from folders of people, or reads a list."""

import itertools
import math
import os
import random
from pathlib import Path
from typing import NamedTuple

from insightface_cakd.data.folders import find_people
from insightface_cakd.data.images import read_bytes
from insightface_cakd.errors import DataError

FOLDS = 10
_STEP = 2 * FOLDS


class Pair(NamedTuple):
    """Two image files and whether they show the same person."""

    first: Path
    second: Path
    same: bool


def most_pairs(folder: str | os.PathLike[str]) -> int:
    """Return how many pairs `draw_pairs` can draw from a folder."""
    same, different = _supply(find_people(folder).images)
    return min(same, different) // FOLDS * _STEP


def _supply(people: list[list[Path]]) -> tuple[int, int]:
    """Return the numbers of distinct same and different pairs."""
    same = sum(math.comb(len(images), 2) for images in people)
    return same, math.comb(sum(map(len, people)), 2) - same


def draw_pairs(folder: str | os.PathLike[str], count: int, seed: int) -> list[Pair]:
    """Draw distinct pairs, half same and half different.

    `count` is a multiple of 20. Every tenth of the pairs is balanced too. Same pairs are spread over as many people as
    possible; for a different pair two people are drawn uniformly, then an image of each. The same folder, count and
    seed give the same pairs in the same order.
    """
    if count <= 0 or count % _STEP:
        raise DataError(
            f"{count} pairs: expected a multiple of {_STEP}, so that each tenth has equal halves. Try 6000."
        )
    people = find_people(folder)
    if len(people.images) < 2:
        raise DataError(f"{folder}: one person ('{people.names[0]}'); pairs of different people need 2. Add people.")
    same, different = _supply(people.images)
    if min(same, different) < count // 2:
        most = min(same, different) // FOLDS * _STEP
        raise DataError(
            f"{folder}: {same} same and {different} different pairs to draw from; {count} need {count // 2} of each. "
            + (f"Ask for at most {most}." if most else "Add people with several images.")
        )
    source = random.Random(seed)
    alike = _draw_same(people.images, count // 2, source)
    unlike = _draw_different(people.images, count // 2, source, different)
    half = count // _STEP
    starts = range(0, count // 2, half)
    return [pair for i in starts for pair in alike[i : i + half] + unlike[i : i + half]]


def _draw_same(people: list[list[Path]], count: int, source: random.Random) -> list[Pair]:
    supplies = [math.comb(len(images), 2) for images in people]
    limit = 1  # pairs per person, as small as possible
    while sum(min(supply, limit) for supply in supplies) < count:
        limit += 1
    rounds: list[list[Pair]] = [[] for _ in range(limit)]
    for images, supply in zip(people, supplies, strict=True):
        for turn, number in enumerate(source.sample(range(supply), min(supply, limit))):
            second = (1 + math.isqrt(1 + 8 * number)) // 2
            first = number - math.comb(second, 2)
            rounds[turn].append(Pair(images[first], images[second], True))
    # Everyone's first pair comes before anyone's second: only the last round is drawn from.
    chosen = list(itertools.chain.from_iterable(rounds[:-1]))
    chosen += source.sample(rounds[-1], count - len(chosen))
    source.shuffle(chosen)
    return chosen


def _draw_different(people: list[list[Path]], count: int, source: random.Random, supply: int) -> list[Pair]:
    if supply <= 4 * count:
        couples = itertools.combinations(people, 2)
        everything = [Pair(a, b, False) for one, other in couples for a in one for b in other]
        return source.sample(everything, count)
    chosen: dict[tuple[int, int, int, int], Pair] = {}
    while len(chosen) < count:
        one, other = sorted(source.sample(range(len(people)), 2))
        first, second = source.randrange(len(people[one])), source.randrange(len(people[other]))
        chosen[one, first, other, second] = Pair(people[one][first], people[other][second], False)
    return list(chosen.values())


def read_pairs(path: str | os.PathLike[str]) -> list[Pair]:
    """Read a text file with a pair `first second 0|1` per line.

    A line with tabs is split at the tabs, otherwise one with commas at the commas, otherwise at spaces. Paths are
    relative to the list's folder, 1 means same, and empty lines are skipped.
    """
    folder, pairs = Path(path).parent, []
    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not a text file; expected lines `first second 0|1`, or a folder of people."
        ) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        fields = [part.strip() for part in line.split("\t" if "\t" in line else "," if "," in line else None)]
        if len(fields) != 3 or fields[2] not in ("0", "1"):
            raise DataError(f"{path}: line {number} is '{line.strip():.60}'; expected `first second 0|1`. Correct it.")
        first, second = folder / fields[0], folder / fields[1]
        for image in (first, second):
            if not image.is_file():
                raise DataError(f"{path}: line {number} names {image}, no such file; paths are relative to {folder}.")
        pairs.append(Pair(first, second, fields[2] == "1"))
    if not pairs:
        raise DataError(f"{path}: holds no pairs; expected lines `first second 0|1`. Write one pair a line.")
    return pairs
