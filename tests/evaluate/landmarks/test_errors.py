"""Errors of landmarks against loops in float64, and by hand."""

import numpy as np
import pytest

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.landmarks.errors import image_errors, normalisers, summarise
from tests.point_sets import FACE, NAMES, face_68, shaken

NUMBERS = [str(index) for index in range(68)]


def oracle_errors(found, given, length):
    """Return each image's error, point by point."""
    errors = []
    for one, truth in zip(found, given, strict=True):
        distances = [np.hypot(float(p[0]) - t[0], float(p[1]) - t[1]) for p, t in zip(one, truth, strict=True)]
        errors.append(sum(distances) / len(distances) / length(truth))
    return np.array(errors)


def oracle_auc(errors, threshold, steps=200_000):
    """Integrate the cumulative distribution of errors up to a threshold, in small steps."""
    middles = (np.arange(steps) + 0.5) * threshold / steps
    return np.searchsorted(np.sort(errors), middles, side="right").mean() / len(errors)


LENGTHS = {
    "eye_centres": lambda t: np.hypot(*(t[36:42].mean(0) - t[42:48].mean(0))),
    "outer_corners": lambda t: np.hypot(*(t[36] - t[45])),
    "box": lambda t: np.sqrt((t[:, 0].max() - t[:, 0].min()) * (t[:, 1].max() - t[:, 1].min())),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_errors_are_those_of_the_loop(name):
    given = shaken(face_68(), 7, seed=1)
    found = given + np.random.default_rng(2).normal(0, 2, given.shape)
    lengths = normalisers(NUMBERS)[name](given)
    expected = oracle_errors(found, given, LENGTHS[name])
    np.testing.assert_allclose(image_errors(found, given, lengths), expected, rtol=1e-12)


def test_five_points_by_hand():
    """Every point 3 to the right and 4 down is 5 away; the eyes of FACE are 26 apart, its box is 26 by 26."""
    found = normalisers(NAMES)
    assert list(found) == ["eye_centres", "box"]
    given = FACE[None]
    for length in found.values():
        assert image_errors(given + np.array([3, 4]), given, length(given)) == pytest.approx(5 / 26)
    assert image_errors(given, given, found["box"](given)) == 0


def test_normalisers_follow_from_the_points():
    assert list(normalisers(NUMBERS)) == ["outer_corners", "eye_centres", "box"]
    moved = ("nose", "right_eye", "left_eye", "left_mouth", "right_mouth")
    assert normalisers(moved)["eye_centres"](FACE[None, [2, 1, 0, 3, 4]]) == pytest.approx(26)
    assert list(normalisers(NUMBERS[:98])) == ["outer_corners", "eye_centres", "box"]
    assert list(normalisers(NUMBERS[:21])) == ["box"]
    with pytest.raises(EvaluationError, match="one point without an eye has no length"):
        normalisers(["nose"])


def test_a_summary_is_that_of_the_steps():
    errors = np.random.default_rng(3).gamma(2, 0.03, 500)
    found = summarise(errors)
    assert found.nme == pytest.approx(sum(errors) / 500)
    assert found.median == pytest.approx((np.sort(errors)[249] + np.sort(errors)[250]) / 2)
    assert found.failures == sum(error > 0.08 for error in errors) / 500
    assert found.auc == pytest.approx(oracle_auc(errors, 0.08), abs=1e-5)


def test_a_summary_by_hand():
    """Errors 0, 0.04, 0.08 and 0.5: the distribution is 1/4, then 2/4 over the second half; 0.08 itself does not fail."""
    found = summarise(np.array([0, 0.04, 0.08, 0.5]))
    assert found.auc == pytest.approx((0.25 + 0.5) / 2)
    assert found.failures == 0.25
    assert found.nme == pytest.approx(0.155)
    assert summarise(np.zeros(3)).auc == 1
    assert summarise(np.ones(3)).auc == 0


def test_eyes_at_one_place_do_not_divide_by_zero():
    assert np.isfinite(image_errors(FACE[None], FACE[None] + 1, np.zeros(1))).all()
