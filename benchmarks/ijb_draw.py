"""Random image embeddings, templates and pairs of an IJB set's size, and the lists that name them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insightface_cakd.errors import RunError


@dataclass(frozen=True)
class Size:
    """Size of a random set; the defaults are those of IJB-C.

    Args:
        images: number of image embeddings.
        templates: number of templates.
        pairs: number of pairs of templates.
        same: number of pairs of one subject.
        galleries: number of gallery templates, each of another subject, which come first in a pair; the others are probes.
        width: width of the embeddings.
        among: pairs of any two templates, instead of pairs of gallery and probe as in IJB-C.
    """

    images: int = 469_375
    templates: int = 23_124
    pairs: int = 15_658_489
    same: int = 19_557
    galleries: int = 3_531
    width: int = 512
    among: bool = False

    @property
    def candidates(self) -> int:
        """Number of possible pairs."""
        firsts, seconds = (
            (self.templates, self.templates) if self.among else (self.galleries, self.templates - self.galleries)
        )
        return firsts * seconds

    @property
    def impostors(self) -> int:
        """Number of possible pairs of two subjects."""
        if not self.among:
            return self.candidates - (self.templates - self.galleries)
        alike = np.bincount(np.arange(self.templates) % self.galleries)
        return self.candidates - int((alike**2).sum())


def size_of(images: int, templates: int, pairs: int, among: bool) -> Size:
    """Return a size with IJB-C's shares of galleries and of same pairs.

    Args:
        images: number of image embeddings.
        templates: number of templates.
        pairs: number of pairs of templates.
        among: see `Size`.

    Raises:
        RunError: there are more templates than images, or more pairs than templates could make.
    """
    if templates > images:
        raise RunError(f"ijb: {templates} templates of {images} images; expected an image each. Change --images.")
    full = Size()
    galleries = max(1, templates * full.galleries // full.templates)
    same = max(1, pairs * full.same // full.pairs)
    size = Size(images, templates, pairs, same, galleries, full.width, among)
    if pairs - same > size.impostors or same > templates - galleries:
        raise RunError(
            f"ijb: {pairs} pairs; {templates} templates make {size.impostors} of two subjects and {templates - galleries} of "
            "one; expected no more. Give fewer --pairs or more --templates."
        )
    return size


@dataclass(frozen=True)
class Drawn:
    """A random set.

    Args:
        features: float32 (images, width), embeddings around the centres of their subjects.
        templates: int32 (images,), template id of each image; every template has an image.
        medias: int32 (images,), media id of each image; a media has one or a few images.
        first: int32 (pairs,), template id of the first of each pair.
        second: int32 (pairs,), template id of the second of each pair.
        same: bool (pairs,), whether both are of one subject.
    """

    features: np.ndarray
    templates: np.ndarray
    medias: np.ndarray
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


def draw(size: Size, seed: int = 0) -> Drawn:
    """Draw a set; the same size and seed give the same arrays.

    Template t shows subject t modulo the number of galleries and has the id 2 t + 1. Images are in random order.

    Args:
        size: size of the set.
        seed: seed of the random numbers.
    """
    random = np.random.default_rng(seed)
    rest = size.images - size.templates
    place = np.concatenate([np.arange(size.templates), random.integers(0, size.templates, rest)])
    random.shuffle(place)
    centres = random.standard_normal((size.galleries, size.width), np.float32)
    features = random.standard_normal((size.images, size.width), np.float32)
    features *= 4
    for start in range(0, size.images, 10_000):
        some = slice(start, start + 10_000)
        features[some] += centres[place[some] % size.galleries]
    first, second = _pairs(size, random)
    return Drawn(
        features,
        (2 * place + 1).astype(np.int32),
        (place * 50 + random.integers(0, 8, size.images)).astype(np.int32),
        (2 * first + 1).astype(np.int32),
        (2 * second + 1).astype(np.int32),
        first % size.galleries == second % size.galleries,
    )


def _pairs(size: Size, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the first and second templates of the pairs.

    No pair occurs twice, and the pairs of one subject are scattered among the others.
    """
    lowest = 0 if size.among else size.galleries
    seconds = size.templates - lowest
    # One probe per same pair; its gallery is that of its subject.
    probes = random.choice(np.arange(size.galleries, size.templates), size.same, replace=False)
    # Drawn pairs of one subject are left out; enough pairs are drawn for the worst case.
    enough = size.pairs - size.same + size.candidates - size.impostors
    drawn = random.choice(size.candidates, enough, replace=False, shuffle=False)
    first, second = drawn // seconds, drawn % seconds + lowest
    differ = np.flatnonzero(first % size.galleries != second % size.galleries)[: size.pairs - size.same]
    order = random.permutation(len(differ) + len(probes))
    first = np.concatenate([probes % size.galleries, first[differ]])[order]
    second = np.concatenate([probes, second[differ]])[order]
    return first.astype(np.int32), second.astype(np.int32)


def write_lists(drawn: Drawn, root: Path, seed: int = 0) -> None:
    """Write the lists of a set as those of IJB-C, with random landmarks and detector scores.

    Args:
        drawn: the set.
        root: folder that gets `IJBC/meta`.
        seed: seed of the random numbers.
    """
    meta = root / "IJBC" / "meta"
    meta.mkdir(parents=True)
    random = np.random.default_rng(seed)
    count = len(drawn.templates)
    points = random.uniform(20, 120, (count, 10))
    numbers = np.concatenate([points, random.uniform(0.5, 1, (count, 1))], axis=1)
    landmarks = (f"{row}.jpg " + " ".join(f"{one:.3f}" for one in some) for row, some in enumerate(numbers.tolist(), 1))
    faces = (f"{row}.jpg {one} {other}" for row, (one, other) in enumerate(_rows(drawn.templates, drawn.medias), 1))
    pairs = (f"{one} {other} {label:d}" for one, other, label in _rows(drawn.first, drawn.second, drawn.same))
    for name, lines in (("name_5pts_score", landmarks), ("face_tid_mid", faces), ("template_pair_label", pairs)):
        with (meta / f"ijbc_{name}.txt").open("w") as file:
            file.writelines(line + "\n" for line in lines)


def _rows(*columns: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Yield rows as Python's numbers, not all in memory at once."""
    for start in range(0, len(columns[0]), 100_000):
        yield from zip(*(column[start : start + 100_000].tolist() for column in columns), strict=True)
