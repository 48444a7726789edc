"""Which landmark becomes which in a mirror."""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from insightface_cakd.errors import DataError
from insightface_cakd.runtime.reading import read_text

# Largest distance of a mirrored mean shape from the mean shape, as a share of its radius, that a fitting table leaves.
MOST_ASKEW = 0.3


def _exchanged(count: int, *pairs: tuple[int, int]) -> tuple[int, ...]:
    table = list(range(count))
    for first, second in pairs:
        table[first], table[second] = second, first
    return tuple(table)


def _mirrored_runs(*runs: tuple[range, range]) -> list[tuple[int, int]]:
    """Return pairs of points: a run of the left side, and one of the right, each from the outside."""
    return list(chain.from_iterable(zip(*run, strict=True) for run in runs))


# Eyes, nose, corners of the mouth, as InsightFace's detectors give them; and the 68 points of iBUG.
FLIPS: dict[int, tuple[int, ...]] = {
    5: _exchanged(5, (0, 1), (3, 4)),
    68: _exchanged(
        68,
        *_mirrored_runs(
            (range(0, 8), range(16, 8, -1)),  # jaw
            (range(17, 22), range(26, 21, -1)),  # brows
            (range(31, 33), range(35, 33, -1)),  # nostrils
            (range(36, 40), range(45, 41, -1)),  # upper lids with corners
            (range(40, 42), range(47, 45, -1)),  # lower lids
            (range(48, 51), range(54, 51, -1)),  # upper lip, outside
            (range(58, 60), range(56, 54, -1)),  # lower lip, outside
            (range(60, 62), range(64, 62, -1)),  # upper lip, inside
            (range(67, 68), range(65, 64, -1)),  # lower lip, inside
        ),
    ),
}
SIDE = re.compile("left|right", re.IGNORECASE)


def flip_of(names: Sequence[str]) -> tuple[int, ...] | None:
    """Return the flip table of points, None where not known.

    Names with `left` and `right` say it themselves; otherwise 5 and 68 points are taken for those of `FLIPS`.
    """
    if any(SIDE.search(name) for name in names):
        others = [_other_side(name) for name in names]
        return tuple(names.index(other) for other in others) if set(others) == set(names) else None
    return FLIPS.get(len(names))


def _other_side(name: str) -> str:
    def exchange(found: re.Match[str]) -> str:
        word = "right" if found[0].lower() == "left" else "left"
        return word.upper() if found[0].isupper() else word.title() if found[0].istitle() else word

    return SIDE.sub(exchange, name)


def parse_flip(text: str) -> tuple[int, ...]:
    """Read a table from text, or a file of numbers."""
    path = Path(text)
    words = (
        (read_text(path, DataError, "a table of numbers. Correct --flip.") if path.is_file() else text)
        .replace(",", " ")
        .split()
    )
    if not words or not all(word.isdecimal() and len(word) < 10 for word in words):
        raise DataError(f"--flip {text[:80]}: expected whole numbers such as 1,0,2, or a file of them. Correct it.")
    return tuple(map(int, words))


def check_flip(table: Sequence[int], count: int, where: str) -> tuple[int, ...]:
    """Return a table that exchanges K points in pairs."""
    numbers = tuple(table)
    whole = all(isinstance(number, int) and 0 <= number < count for number in numbers)
    if len(numbers) != count or not whole or any(numbers[numbers[index]] != index for index in range(count)):
        raise DataError(
            f"{where}: flip {','.join(map(str, numbers))[:80]} does not exchange {count} points in pairs; expected for each point, from 0, "
            "the number of the one that it becomes in a mirror. Correct it."
        )
    return numbers


def mirror(points: np.ndarray, table: Sequence[int]) -> np.ndarray:
    """Return the points (K, 2) of the mirrored image, in units."""
    return points[list(table)] * np.array([-1, 1], points.dtype)


def askew(shape: np.ndarray, table: Sequence[int]) -> float:
    """Return how far a mirrored mean shape is from itself.

    mean_k |m_k - s_k| / sqrt(mean_k |s_k|^2), s the shape about its centre and m its mirror image.

    Args:
        shape: (K, 2), any unit.
        table: see `FLIPS`.
    """
    centred = shape - shape.mean(axis=0)
    radius = np.sqrt(np.square(centred).sum(axis=1).mean())
    return float(np.linalg.norm(mirror(centred, table) - centred, axis=1).mean() / max(radius, 1e-12))
