"""The equal error rate of pairs, with its bootstrap interval."""

import numpy as np

from insightface_cakd.evaluate.pairs.bootstrap import Interval, Resamples, interval_of


def equal_error_rate(distances: np.ndarray, same: np.ndarray) -> float:
    """Return the rate at which false accepts and rejects are equal.

    The mean of both rates at the threshold at which they differ least, the lowest such threshold. Of distances (P,) a smaller one is more
    alike; `same`, bool (P,), has both kinds.
    """
    return float(_rates(distances, same, np.ones((1, len(same))))[0])


def eer_interval(distances: np.ndarray, resamples: Resamples) -> Interval:
    """Return the interval of the equal error rate over resampled pairs."""
    return interval_of(_rates(distances, resamples.same, resamples.counts))


def _rates(distances: np.ndarray, same: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the rate of each row of counts (R, P), how often each pair occurs."""
    order = np.argsort(distances, kind="stable")
    sorted_distances, kinds = distances[order], same[order]
    # A threshold does not part pairs of the same distance; the first one accepts nothing.
    ends = np.append(np.flatnonzero(np.diff(sorted_distances)), len(order) - 1) + 1
    ends = np.concatenate([[0], ends])
    rates = []
    for row in counts[:, order]:
        accepted = [np.concatenate([[0], np.cumsum(row * kind)])[ends] / (row * kind).sum() for kind in (kinds, ~kinds)]
        false_rejects, false_accepts = 1 - accepted[0], accepted[1]
        best = int(np.argmin(np.abs(false_accepts - false_rejects)))
        rates.append((false_accepts[best] + false_rejects[best]) / 2)
    return np.array(rates)
