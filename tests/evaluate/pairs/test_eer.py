"""The equal error rate by hand, by a slow loop, and its interval."""

import numpy as np
import pytest

from insightface_cakd.evaluate.pairs.bootstrap import Resamples
from insightface_cakd.evaluate.pairs.eer import eer_interval, equal_error_rate


def slow(distances, same):
    """Try a threshold behind each distance, and one before all."""
    best = None
    for threshold in [-1.0, *sorted(set(distances))]:
        rejects = np.mean([distance > threshold for distance, kind in zip(distances, same, strict=True) if kind])
        accepts = np.mean([distance <= threshold for distance, kind in zip(distances, same, strict=True) if not kind])
        if best is None or abs(accepts - rejects) < abs(best[0] - best[1]) - 1e-12:
            best = accepts, rejects
    return sum(best) / 2


@pytest.mark.parametrize(
    ("distances", "same", "rate"),
    [
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], 0.0),
        ([0.8, 0.9, 0.1, 0.2], [1, 1, 0, 0], 1.0),
        # Accepting up to 0.3: one of four genuine pairs is rejected, one of four others accepted.
        ([0.1, 0.2, 0.3, 0.6, 0.25, 0.7, 0.8, 0.9], [1, 1, 1, 1, 0, 0, 0, 0], 0.25),
        # No threshold parts equal distances: all are accepted or none.
        ([0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0], 0.5),
    ],
)
def test_by_hand(distances, same, rate):
    assert equal_error_rate(np.array(distances), np.array(same, bool)) == pytest.approx(rate)


def test_it_equals_a_slow_loop_and_lies_in_its_interval():
    random = np.random.default_rng(0)
    same = random.random(200) < 0.4
    distances = np.where(same, random.normal(1.0, 0.3, 200), random.normal(1.5, 0.3, 200)).clip(0, 4).round(2)
    found = equal_error_rate(distances, same)
    assert found == pytest.approx(slow(distances, same))
    interval = eer_interval(distances, Resamples(same, 200))
    assert 0.05 < interval.low < found < interval.high < 0.4
