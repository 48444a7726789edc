"""Error rates of anti-spoofing against loops and by hand, with ties and sets of one kind."""

import numpy as np
import pytest

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.liveness.metrics import (
    area_under_curve,
    averaged_by_video,
    equal_error,
    error_curve,
    rates_at,
)


def drawn(seed, ties):
    random = np.random.default_rng(seed)
    live = random.integers(0, 2, 41)
    live[:2] = 0, 1
    scores = random.normal(size=41) + live
    return (np.round(scores) if ties else scores), live


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_rates_and_area_are_those_of_loops(seed, ties):
    scores, live = drawn(seed, ties)
    attacks = [s for s, kind in zip(scores, live, strict=True) if kind == 0]
    faces = [s for s, kind in zip(scores, live, strict=True) if kind == 1]
    for threshold in (-1.0, 0.0, 0.5, 1.0):
        found = rates_at(scores, live, threshold)
        assert found.apcer == pytest.approx(sum(s >= threshold for s in attacks) / len(attacks))
        assert found.bpcer == pytest.approx(sum(s < threshold for s in faces) / len(faces))
        assert found.acer == pytest.approx((found.apcer + found.bpcer) / 2)
    wins = sum((f > a) + 0.5 * (f == a) for f in faces for a in attacks)
    assert area_under_curve(scores, live) == pytest.approx(wins / len(faces) / len(attacks))
    rate, threshold = equal_error(scores, live)
    at = rates_at(scores, live, threshold)
    assert rate == pytest.approx(at.acer)
    gaps = [
        abs(rates_at(scores, live, t).apcer - rates_at(scores, live, t).bpcer) for t in error_curve(scores, live)[0]
    ]
    assert abs(at.apcer - at.bpcer) == pytest.approx(min(gaps))


def test_by_hand():
    scores, live = np.array([0.1, 0.4, 0.6, 0.3, 0.7, 0.9]), np.array([0, 0, 0, 1, 1, 1])
    # One attack (.6) lies above one live face (.3): 7 of 9 pairs are in order; at .5 one of three of each is wrong.
    assert area_under_curve(scores, live) == pytest.approx(7 / 9)
    assert equal_error(scores, live) == (pytest.approx(1 / 3), pytest.approx(0.5))


def test_separated_equal_and_reversed_scores():
    live = np.array([0, 0, 1, 1])
    assert equal_error(np.array([0.0, 1, 2, 3]), live) == (0.0, 1.5)
    assert equal_error(np.zeros(4), live)[0] == 0.5
    assert area_under_curve(np.zeros(4), live) == 0.5
    assert area_under_curve(np.array([3.0, 2, 1, 0]), live) == 0.0, "a reversed polarity shows"


@pytest.mark.parametrize("measure", [equal_error, area_under_curve, error_curve, lambda s, k: rates_at(s, k, 0.0)])
def test_one_kind_or_a_score_that_is_no_number_is_refused(measure):
    with pytest.raises(EvaluationError, match=r"2 live and 0 spoof faces; expected both kinds"):
        measure(np.zeros(2), np.ones(2))
    with pytest.raises(EvaluationError, match="1 scores not finite"):
        measure(np.array([np.nan, 1.0]), np.array([0, 1]))


def test_scores_are_averaged_by_video():
    scores, live = averaged_by_video(np.array([1.0, 3, 5]), np.array([1, 1, 0]), np.array(["a", "a", "b"]))
    np.testing.assert_array_equal(scores, [2, 5])
    np.testing.assert_array_equal(live, [1, 0])
    with pytest.raises(EvaluationError, match="video a has live and spoof frames"):
        averaged_by_video(np.zeros(2), np.array([0, 1]), np.array(["a", "a"]))
