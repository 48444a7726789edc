"""Intervals and the paired test: against plain loops, textbook values and coverage."""

import math

import numpy as np
import pytest

from insightface_cakd.evaluate.pairs.bootstrap import (
    Interval,
    Paired,
    Resamples,
    interval_of,
    mean_interval,
    paired,
    said_p,
)
from tests.evaluate.protocol import slow_tar

SAME = np.array([True, False, True, True, False, False, True, False] * 10)


def drawn(seed=1):
    return np.where(SAME, *np.random.default_rng(seed).normal([[1.0], [2.0]], 0.5, (2, len(SAME))))


def listed(resamples, row):
    """Return the places of the pairs of a resample, each as often as it was drawn."""
    return np.repeat(np.arange(len(SAME)), resamples.counts[row])


def test_a_resample_has_as_many_pairs_of_each_kind():
    resamples = Resamples(SAME, 50)
    assert resamples.counts.shape == (50, 80)
    assert (resamples.counts[:, SAME].sum(axis=1) == 40).all()
    assert (resamples.counts[:, ~SAME].sum(axis=1) == 40).all()
    assert (resamples.counts > 1).any()
    assert (resamples.counts == 0).any()


def test_the_same_seed_gives_the_same_resamples_and_another_others():
    assert np.array_equal(Resamples(SAME, 20).counts, Resamples(SAME, 20).counts)
    assert not np.array_equal(Resamples(SAME, 20).counts, Resamples(SAME, 20, seed=1).counts)


def test_means_are_those_of_the_pairs_that_were_drawn():
    resamples, values, weights = Resamples(SAME, 20), np.arange(80.0), np.linspace(1, 2, 80)
    for row in range(20):
        places = listed(resamples, row)
        assert resamples.mean(values)[row] == pytest.approx(np.mean(values[places]))
        expected = sum(values[i] * weights[i] for i in places) / sum(weights[i] for i in places)
        assert resamples.mean(values, weights)[row] == pytest.approx(expected)


@pytest.mark.parametrize("far", [0.1, 0.05, 0.025])
def test_tar_is_read_in_each_resample_as_in_a_set_of_these_pairs(far):
    resamples, distances = Resamples(SAME, 20), drawn()
    distances[3], distances[5] = distances[4], distances[1]  # ties
    found = resamples.tar(distances, far)
    for row in range(20):
        places = listed(resamples, row)
        assert found[row] == pytest.approx(slow_tar(distances[places].tolist(), SAME[places], far))


def test_the_interval_of_a_share_is_as_wide_as_theory_says():
    right = np.random.default_rng(0).random(4000) < 0.9
    share, interval = right.mean(), mean_interval(right.astype(float))
    half = 1.96 * math.sqrt(share * (1 - share) / 4000)
    assert interval.low == pytest.approx(share - half, abs=0.001)
    assert interval.high == pytest.approx(share + half, abs=0.001)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    random, covered = np.random.default_rng(3), 0
    for seed in range(100):
        right = random.random(200) < 0.8
        interval = mean_interval(right.astype(float), 300, seed)
        covered += interval.low <= 0.8 <= interval.high
    assert 88 <= covered <= 99


def test_the_middle_of_known_values():
    middle = interval_of(np.arange(101.0), 0.9)
    assert (middle.low, middle.high) == pytest.approx((5, 95))
    assert Interval(-0.01, 0.025).points() == "[-1.00, 2.50]"
    assert Interval(-0.01, 0.025).points(signed=True) == "[-1.00, +2.50]"


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),
        (0, 5, 2 / 32),
        (1, 9, 2 * 11 / 1024),
        (5, 5, 1.0),
        (4, 6, 2 * (1 + 10 + 45 + 120 + 210) / 1024),
        (59, 121, 4.434e-06),
    ],
)
def test_mcnemar_by_hand(first, second, p):
    """The last is checked against scipy.stats.binomtest(59, 180)."""
    assert Paired(first, second).p == pytest.approx(p, rel=1e-3)
    assert Paired(second, first).p == Paired(first, second).p


def test_thousands_of_differing_pairs_need_no_approximation():
    assert Paired(5000, 5000).p == 1.0
    assert 0 <= Paired(100, 9000).p < 1e-300
    assert said_p(Paired(100, 9000).p) == "< 1e-300"
    assert said_p(0.0625) == "0.062"
    assert said_p(4.4e-6) == "4.4e-06"


def test_pairs_are_counted_where_one_alone_is_right():
    first = np.array([True, True, False, False, True])
    second = np.array([True, False, True, False, False])
    assert paired(first, second) == Paired(2, 1)
    assert paired(first, second) + Paired(1, 1) == Paired(3, 2)


def club(pairs_of_same=3, people=6):
    """People who have several same pairs each, and one different pair with each other."""
    first = [person for person in range(people) for _ in range(pairs_of_same)]
    couples = [(one, other) for one in range(people) for other in range(one)]
    pairs = np.array([*zip(first, first, strict=True), *couples])
    return pairs, pairs[:, 0] == pairs[:, 1]


def test_pairs_come_with_their_people():
    people, same = club()
    resamples = Resamples(same, 50, people=people)
    for row in resamples.counts:
        times = row[: 3 * 6 : 3]  # of each person's first same pair
        assert times.sum() == 6
        assert (row[same] == times[people[same, 0]]).all()
        assert (row[~same] == times[people[~same, 0]] * times[people[~same, 1]]).all()


def test_numbers_of_people_are_names():
    people, same = club()
    assert np.array_equal(Resamples(same, 9, people=people).counts, Resamples(same, 9, people=1000 + 7 * people).counts)


def test_where_nobody_recurs_pairs_are_drawn():
    alone = np.arange(2 * len(SAME)).reshape(-1, 2)
    alone[SAME, 1] = alone[SAME, 0]
    assert np.array_equal(Resamples(SAME, 9, people=alone).counts, Resamples(SAME, 9).counts)


@pytest.mark.parametrize("far", [0.1, 0.2])
def test_tar_by_people_is_read_as_in_a_set_of_these_pairs(far):
    people, same = club(people=12)
    resamples, random = Resamples(same, 20, people=people), np.random.default_rng(0)
    distances = np.where(same, random.normal(1, 0.5, len(same)), random.normal(2, 0.5, len(same)))
    found = resamples.tar(distances, far)
    for row in range(20):
        places = np.repeat(np.arange(len(same)), resamples.counts[row])
        assert found[row] == pytest.approx(slow_tar(distances[places].tolist(), same[places], far))


def test_intervals_by_people_cover_the_truth_where_pairs_of_a_person_are_alike_and_those_by_pairs_do_not():
    random, covered = np.random.default_rng(1), {"people": 0, "pairs": 0}
    people, same = club(pairs_of_same=20, people=40)
    for seed in range(60):
        luck = random.random(40) < 0.8  # all same pairs of a person are right, or none
        values = np.where(same, luck[people[:, 0]], 0.0)
        for by, given in (("people", people), ("pairs", None)):
            interval = interval_of(Resamples(same, 200, seed, given).mean(values, same.astype(float)))
            covered[by] += interval.low <= 0.8 <= interval.high
    assert covered["people"] >= 50
    assert covered["pairs"] <= 30


def test_a_resample_has_pairs_of_both_kinds_however_few_people_there_are():
    people, same = np.array([[0, 0], [1, 1], [0, 1]]), np.array([True, True, False])
    counts = Resamples(same, 200, people=people).counts
    assert counts[:, same].any(axis=1).all()
    assert counts[:, ~same].any(axis=1).all()
