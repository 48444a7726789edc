"""How far apart same and different pairs lie.

It is finer than accuracy where nearly all pairs are judged right.
"""

import numpy as np

from insightface_cakd.evaluate.pairs.bootstrap import Interval, Resamples, interval_of

# Of equal distances: a division by zero must not hide that they are apart.
TINY = 1e-12


def separation(distances: np.ndarray, same: np.ndarray) -> float:
    """Return how far apart the two kinds of pairs lie, d'.

    d' = (mean of different - mean of same) / sqrt(mean of both variances).

    Args:
        distances: (P,), of pairs.
        same: bool (P,), both kinds.
    """
    return float(_separation(_moments(distances, same), _moments(distances, ~same)))


def gain_in_separation(first: np.ndarray, second: np.ndarray, same: np.ndarray) -> Interval:
    """Return how much better the second distances separate, as an interval.

    It contains 95 % of the differences of separation in a bootstrap over the pairs, which are the same for both.

    Args:
        first: distances (P,) by one model.
        second: distances (P,) by another.
        same: bool (P,), both kinds.
    """
    drawn = Resamples(same)
    found = []
    for distances in (first, second):
        means = [
            (drawn.mean(distances, kind), drawn.mean(distances**2, kind))
            for kind in (same.astype(float), (~same).astype(float))
        ]
        found.append(_separation(*((mean, square - mean**2) for mean, square in means)))
    return interval_of(found[1] - found[0])


def _moments(distances: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return distances[kind].mean(), distances[kind].var()


def _separation(same: tuple[np.ndarray, np.ndarray], different: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    spread = np.sqrt(np.maximum((same[1] + different[1]) / 2, TINY))
    return (different[0] - same[0]) / spread
