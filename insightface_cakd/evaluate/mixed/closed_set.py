"""Closed-set identification from a verification set: its same pairs say who is who."""

from dataclasses import dataclass

import numpy as np

from insightface_cakd.data.bins import VerificationSet


@dataclass(frozen=True, eq=False)
class ClosedSet:
    """Who is enrolled and who asks, as places in a set's images.

    Args:
        gallery: (G,), one image a person.
        probes: (P,), other images of these persons.
        own: place in the gallery of each probe's person, (P,).
    """

    gallery: np.ndarray
    probes: np.ndarray
    own: np.ndarray


def closed_set(pairs: VerificationSet) -> ClosedSet:
    """Return a search in the persons of a set's same pairs.

    A .bin names nobody: images are of one person where a chain of same pairs and of equal pixels joins them. Enrolled is
    the first image of a person's first same pair; the second images of its same pairs ask, each image once.

    Args:
        pairs: the set.

    Edge cases:
        No same pairs: everything is empty. A person whom no chain joins counts as two, so that the share found is a lower
        bound.
    """
    pictures = [image.tobytes() for image in pairs.images]
    same: dict[bytes, int] = {}
    image = np.array([same.setdefault(picture, place) for place, picture in enumerate(pictures)], int)
    person = _persons(image, pairs.same)
    enrolled: dict[int, int] = {}
    asking: dict[int, int] = {}
    for pair in np.flatnonzero(pairs.same).tolist():
        first, second = image[2 * pair], image[2 * pair + 1]
        own = enrolled.setdefault(person[first], first)
        if second != own:
            asking.setdefault(second, person[first])
    place = {name: number for number, name in enumerate(enrolled)}
    return ClosedSet(
        np.array(list(enrolled.values()), int),
        np.array(list(asking), int),
        np.array([place[name] for name in asking.values()], int),
    )


def _persons(image: np.ndarray, same: np.ndarray) -> list[int]:
    """Return the person of each image: the root of its tree, joined by same pairs."""
    parent = list(range(len(image)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for pair in np.flatnonzero(same).tolist():
        one, other = root(int(image[2 * pair])), root(int(image[2 * pair + 1]))
        parent[max(one, other)] = min(one, other)
    return [root(int(place)) for place in image]
