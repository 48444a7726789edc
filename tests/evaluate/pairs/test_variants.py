"""Variants of a set: what they do to pixels, that nothing is drawn by chance, and names that are none."""

import numpy as np
import pytest

from insightface_cakd.data.align.similarity import TEMPLATE
from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.pairs.variants import (
    ALL,
    MASK_COLOUR,
    flip,
    lower,
    mask,
    mask_corners,
    parse_variants,
    vary,
)


@pytest.fixture(scope="module")
def faces():
    images = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3)).astype(np.uint8)
    return VerificationSet(images, np.array([True, False]))


def test_the_mask_covers_nose_mouth_and_chin_and_leaves_eyes_and_forehead(faces):
    covered = (mask(faces.images[0]) == MASK_COLOUR).all(axis=-1)
    left_eye, right_eye, nose, left_mouth, right_mouth = np.rint(TEMPLATE).astype(int)
    for x, y in (nose, left_mouth, right_mouth, (56, 105)):
        assert covered[y, x]
    for x, y in (left_eye, right_eye, (56, 20), (3, 3), (108, 3)):
        assert not covered[y - 4 : y + 5, max(x - 4, 0) : x + 5].any()
    assert 0.2 < covered.mean() < 0.4
    assert np.array_equal(mask(faces.images[0])[~covered], faces.images[0][~covered])


def test_the_mask_is_alike_on_both_sides_of_the_nose():
    corners, nose = mask_corners(), TEMPLATE[2, 0]
    assert corners.shape == (8, 2)
    mirrored = np.column_stack([2 * nose - corners[:, 0], corners[:, 1]])[::-1]
    np.testing.assert_allclose(corners, mirrored, atol=1e-4)


def test_lower_averages_pixels_and_gives_back_the_size():
    blocks = np.random.default_rng(1).integers(0, 256, (14, 14, 3)).astype(np.uint8)
    face = blocks.repeat(8, axis=0).repeat(8, axis=1)
    noise = np.tile(np.array([[4, -4], [-4, 4]]), (56, 56))[..., None]
    shaken = (face.astype(int) // 2 + 60 + noise).astype(np.uint8)
    assert lower(shaken, 14).shape == face.shape
    np.testing.assert_array_equal(lower(shaken, 14), lower((face.astype(int) // 2 + 60).astype(np.uint8), 14))
    assert np.ptp(lower(face, 1).reshape(-1, 3), axis=0).tolist() == [0, 0, 0]


def test_a_face_is_mirrored():
    face = np.arange(12).reshape(2, 2, 3).astype(np.uint8)
    assert flip(face).tolist() == [row[::-1] for row in face.tolist()]


@pytest.mark.parametrize("name", ALL)
def test_the_enrolled_image_stays_and_the_set_itself_too(name, faces):
    (variant,) = parse_variants([name])
    before = faces.images.copy()
    probe, both = vary(faces, variant), vary(faces, variant, on="both")
    assert np.array_equal(faces.images, before)
    assert np.array_equal(probe.images[0::2], before[0::2])
    assert np.array_equal(probe.images[1::2], both.images[1::2])
    changed = name not in ("plain", "single")
    assert np.array_equal(both.images[0], before[0]) != changed
    assert np.array_equal(vary(faces, variant).images, probe.images), "nothing is drawn"
    assert probe.same is faces.same
    assert variant.mirrored == (name not in ("single", "flipped"))


def test_names():
    assert [variant.name for variant in parse_variants(())] == ["plain"]
    assert tuple(variant.name for variant in parse_variants(["all"])) == ALL
    assert [variant.name for variant in parse_variants(["masked", "all", "lowres:7"])][:2] == ["masked", "plain"]
    assert len(parse_variants(["masked", "masked"])) == 1


@pytest.mark.parametrize("name", ["maskd", "lowres", "lowres:0", "lowres:112", "lowres:1x", "", "lowres:-3"])
def test_names_that_are_none(name):
    with pytest.raises(EvaluationError, match=rf"--variant {name}: unknown; expected all or one of plain, masked"):
        parse_variants([name])
