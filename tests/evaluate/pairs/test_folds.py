"""Every pair judged by its fold's threshold: the same accuracy as the protocol's."""

import numpy as np
import pytest

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.verification import fold_sizes, judge, verify
from tests.evaluate.protocol import linear_embedder, random_pairs, slow_distances, slow_folds


@pytest.mark.parametrize("count", [10, 57, 100])
def test_right_pairs_weighted_are_the_accuracy_of_the_folds(count):
    faces = random_pairs(count)
    embed, matrix = linear_embedder()
    distances, _ = slow_distances(faces.images, matrix)
    verified = judge(np.array(distances), faces.same, "set")
    accuracy, std, threshold = slow_folds(distances, faces.same)
    assert verified.accuracy == pytest.approx(accuracy)
    assert verified.std == pytest.approx(std)
    assert verified.thresholds.mean() == pytest.approx(threshold)
    assert float((verified.right * verified.weights).sum()) == pytest.approx(accuracy)
    assert verified.weights.sum() == pytest.approx(1)
    assert verified.accuracy == pytest.approx(verify(embed, faces).accuracy)


def test_other_thresholds_give_other_answers():
    same = np.array([True, False] * 10)
    distances = np.where(same, 1.0, 2.0)
    verified = judge(distances, same, "set")
    assert verified.right.all()
    assert verified.right_at(np.full(10, 0.5)).tolist() == (~same).tolist()
    assert verified.right_at(np.full(10, 3.0)).tolist() == same.tolist()


def test_folds_are_contiguous_and_the_first_are_longer():
    assert fold_sizes(23).tolist() == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("kind", [True, False])
def test_pairs_of_one_kind(kind):
    with pytest.raises(EvaluationError, match=r"lfw: \d+ same and \d+ different pairs; expected both kinds and at"):
        judge(np.ones(20), np.full(20, kind), "lfw")


def test_too_few_pairs():
    with pytest.raises(EvaluationError, match="lfw: 2 same and 2 different pairs; expected both kinds and at least 10"):
        judge(np.ones(4), np.array([True, False] * 2), "lfw")


def test_distances_that_are_not_finite():
    distances = np.ones(20)
    distances[[3, 7]] = np.nan, np.inf
    with pytest.raises(EvaluationError, match=r"lfw: 2 of 20 distances are not finite; expected numbers"):
        judge(distances, np.array([True, False] * 10), "lfw")
