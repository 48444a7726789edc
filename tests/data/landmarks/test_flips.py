"""Mirrors of landmarks: every table is a permutation, its own inverse, and right for a face."""

import numpy as np
import pytest

from insightface_cakd.data.landmarks.flips import FLIPS, MOST_ASKEW, askew, check_flip, flip_of, mirror, parse_flip
from insightface_cakd.data.landmarks.sets import read_points
from insightface_cakd.errors import DataError
from tests.point_sets import FACE, NAMES, face_68

SHAPES = {5: FACE, 68: face_68()}


@pytest.mark.parametrize("count", FLIPS)
def test_a_table_is_a_permutation_and_twice_the_identity(count):
    table = FLIPS[count]
    assert sorted(table) == list(range(count))
    points = np.random.default_rng(0).uniform(-1, 1, (count, 2))
    np.testing.assert_array_equal(mirror(mirror(points, table), table), points)
    assert check_flip(table, count, "t") == table


@pytest.mark.parametrize("count", FLIPS)
def test_a_mirrored_face_is_the_same_face(count):
    shape = SHAPES[count]
    assert askew(shape, FLIPS[count]) < 0.05
    assert askew(shape, range(count)) > 0.5, "without a table left and right stay exchanged"


@pytest.mark.parametrize("count", FLIPS)
def test_real_mean_shapes_say_so_too(count, shared_data):
    points = read_points(shared_data / f"landmarks{count}", "train")
    assert askew(points.points.mean(axis=0), points.flip) < 0.1


def test_no_pair_may_be_missing_of_the_68():
    for first in range(68):
        second = FLIPS[68][first]
        if first < second:
            table = list(FLIPS[68])
            table[first], table[second] = first, second
            assert askew(SHAPES[68], table) > askew(SHAPES[68], FLIPS[68]) + 1e-3, (first, second)


def test_names_say_which_side_a_point_is_on():
    assert flip_of(NAMES) == FLIPS[5]
    assert flip_of(("nose", "left_eye", "right_eye", "left_mouth", "right_mouth")) == (0, 2, 1, 4, 3)
    assert flip_of(("left_eye_right_corner", "right_eye_left_corner", "chin")) == (1, 0, 2)
    assert flip_of(("left_eye", "nose")) is None, "the other eye is not there"
    assert flip_of([str(index) for index in range(68)]) == FLIPS[68]
    assert flip_of([str(index) for index in range(7)]) is None


@pytest.mark.parametrize("table", [(1, 2, 0), (0, 1), (0, 1, 3), (0, 0, 2)])
def test_what_is_no_exchange_is_refused(table):
    with pytest.raises(DataError, match="does not exchange 3 points in pairs; expected for each point"):
        check_flip(table, 3, "t")


def test_a_table_is_read_from_text_or_a_file(tmp_path):
    (tmp_path / "flip.txt").write_text("1 0\n2")
    assert parse_flip(str(tmp_path / "flip.txt")) == parse_flip("1,0,2") == (1, 0, 2)
    with pytest.raises(DataError, match="--flip 1,x: expected whole numbers"):
        parse_flip("1,x")


def test_points_in_another_order_are_askew():
    assert askew(FACE[[2, 0, 1, 3, 4]], FLIPS[5]) > MOST_ASKEW
