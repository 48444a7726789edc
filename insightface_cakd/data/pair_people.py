"""Who is in the pairs of a set, as it says."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def people_of_pairs(images: Sequence[bytes], same: Sequence[bool] | np.ndarray) -> np.ndarray:
    """Return a number for the person of each image, (P, 2).

    Equal images show one person, and so do the two of a same pair. People whom nothing connects count as different, which may
    divide one of whom a set has several images.

    Args:
        images: 2P encoded images; pair i consists of 2i and 2i + 1.
        same: (P,), whether both images of a pair show the same person.
    """
    numbers: dict[bytes, int] = {}
    places = np.array([numbers.setdefault(image, len(numbers)) for image in images]).reshape(-1, 2)
    first, second = places[np.asarray(same, bool)].T
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(numbers), len(numbers)))
    people = connected_components(links, directed=False)[1]
    return people[places]
