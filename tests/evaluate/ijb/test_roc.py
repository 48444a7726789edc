"""The curve's points are scikit-learn's, ties or not; TAR is read as upstream does, and strictly."""

import numpy as np
import pytest

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.roc import roc_of
from tests.evaluate.ijb import plain


def draw(seed: int, levels: int | None):
    random = np.random.default_rng(seed)
    same = random.random(random.integers(4, 160)) < random.uniform(0.05, 0.9)
    same[:2] = [True, False]
    scores = random.normal(0, 1, len(same)) + same * random.uniform(-1, 4)
    return (scores if levels is None else np.round(scores * levels) / levels), same


@pytest.mark.parametrize("levels", [None, 10, 2])
def test_points_are_the_plain_reference_and_scikit_learns(levels):
    for seed in range(60):
        scores, same = draw(seed, levels)
        equals_the_references(scores, same)


def equals_the_references(scores, same):
    roc = roc_of(scores, same)
    points = plain.curve(scores, same)
    counts = np.stack([roc.fpr * (~same).sum(), roc.tpr * same.sum()], axis=1)
    assert np.abs(counts - points).max() < 1e-9
    for far in (*plain.FARS, 0.2, 0.5):
        assert roc.tar_nearest(far) == pytest.approx(plain.tar_nearest(points, far), abs=1e-12)
        expected = plain.tar_strict(scores, same, far)
        assert (roc.tar_strict(far) is None) == (expected is None)
        if expected is not None:
            assert roc.tar_strict(far) == pytest.approx(expected, abs=1e-12)
    metrics = pytest.importorskip("sklearn.metrics")
    fpr, tpr, _ = metrics.roc_curve(same.astype(int), scores)
    assert np.array_equal(roc.fpr, fpr)
    assert np.array_equal(roc.tpr, tpr)
    assert roc.auc == metrics.auc(fpr, tpr)


def test_the_nearest_rate_may_lie_above_where_the_strict_reading_does_not():
    scores = np.r_[[0.9, 0.7, 0.5], [0.8, *np.linspace(-1, 0.4, 18)]]
    roc = roc_of(scores, np.arange(len(scores)) < 3)
    assert roc.tar_nearest(0.04) == 1.0  # at 1 / 19 = 0.053
    assert roc.tar_strict(0.04) is None
    assert roc.tar_strict(1 / 19) == 1.0


def test_a_rate_that_the_pairs_cannot_support_has_no_strict_number():
    scores, same = np.linspace(0, 1, 1010), np.arange(1010) >= 1000
    roc = roc_of(scores, same)
    assert [roc.tar_strict(far) is None for far in (1e-4, 1e-3, 1e-2)] == [True, False, False]
    assert roc.tar_strict(1e-4) is None
    assert roc.tar_strict(1.0) == 1.0


def test_pairs_of_one_kind_and_scores_that_are_no_numbers_are_refused():
    with pytest.raises(EvaluationError, match="pairs: 0 same and 4 different"):
        roc_of(np.zeros(4), np.zeros(4, bool))
    with pytest.raises(EvaluationError, match="4 same and 0 different"):
        roc_of(np.zeros(4), np.ones(4, bool))
    with pytest.raises(EvaluationError, match="not finite"):
        roc_of(np.array([0.1, np.nan, 0.3]), np.array([True, False, False]))
