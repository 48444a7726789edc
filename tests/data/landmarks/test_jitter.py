"""Image and points are moved alike, by amounts that depend on seed, epoch and index only."""

import cv2
import numpy as np
import pytest

from insightface_cakd.data.landmarks.crop import warp
from insightface_cakd.data.landmarks.flips import FLIPS
from insightface_cakd.data.landmarks.jitter import Jitter
from insightface_cakd.data.landmarks.points import to_pixels, to_units
from insightface_cakd.data.landmarks.sets import read_points
from insightface_cakd.errors import RecipeError
from insightface_cakd.tasks.point_faces import PointFaces
from tests.point_sets import FACE, shaken, write_folder


def test_units_do_not_depend_on_the_size_and_mirror_by_their_sign():
    points = np.array([[0.0, 0], [73, 79], [36.5, 39.5]])
    units = to_units(points, (74, 80))
    np.testing.assert_allclose(units, [[1 / 74 - 1, 1 / 80 - 1], [1 - 1 / 74, 1 - 1 / 80], [0, 0]])
    np.testing.assert_allclose(to_pixels(units, (74, 80)), points, atol=1e-12)
    mirrored = np.column_stack([73 - points[:, 0], points[:, 1]])
    np.testing.assert_allclose(to_units(mirrored, (74, 80)), units * (-1, 1), atol=1e-12)


def test_no_amount_only_resizes():
    rgb = np.random.default_rng(0).integers(0, 256, (80, 74, 3), dtype=np.uint8)
    matrix = Jitter().matrix((74, 80), 112, np.random.default_rng(0))
    image, points = warp(rgb, FACE, matrix, 112)
    resized = cv2.resize(rgb, (112, 112), interpolation=cv2.INTER_LINEAR)
    inside = np.s_[2:-2, 2:-2]
    assert np.abs(image[inside].astype(int) - resized[inside]).max() <= 12, "fixed-point interpolation"
    np.testing.assert_allclose(to_units(points, (112, 112)), to_units(FACE, (74, 80)), atol=1e-9)


def test_the_matrix_is_the_stated_turn():
    jitter, random = Jitter(degrees=30, scale=0.2, shift=0.1), np.random.default_rng(7)
    drawn = np.random.default_rng(7).uniform(-1, 1, 4)
    matrix = jitter.matrix((112, 112), 112, random)
    angle, factor = np.deg2rad(30) * drawn[0], 1 + 0.2 * drawn[1]
    turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = turn @ (np.array([10.0, 90]) - 55.5) + 55.5 + 11.2 * drawn[2:]
    np.testing.assert_allclose(matrix[:, :2] @ (10, 90) + matrix[:, 2], expected)


def test_half_of_the_images_get_a_frame_of_four_widths():
    rgb, random = np.full((100, 80, 3), 9, np.uint8), np.random.default_rng(0)
    found = [Jitter(frame=0.2).framed(rgb, random) for _ in range(400)]
    assert (rgb == 9).all(), "the image itself stays"
    whole = [one is rgb for one in found]
    assert 160 < sum(whole) < 240
    widths = []
    for one in (one for one, untouched in zip(found, whole, strict=True) if not untouched):
        rows, columns = (np.flatnonzero(one[..., 0].any(axis=axis)) for axis in (1, 0))
        assert (one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 9).all()
        widths.append((rows[0] / 100, (99 - rows[-1]) / 100, columns[0] / 80, (79 - columns[-1]) / 80))
    assert np.max(widths, axis=0) == pytest.approx([0.19] * 4, abs=0.02)
    assert np.mean(widths, axis=0) == pytest.approx([0.095] * 4, abs=0.015)
    assert Jitter(degrees=9).framed(rgb, None) is rgb, "nothing is drawn"


def test_points_stay_on_their_spots(tmp_path):
    write_folder(tmp_path, "train", shaken(FACE, 12, seed=4))
    points = read_points(tmp_path, "train")
    faces = PointFaces(points, 3, Jitter(degrees=30, scale=0.2, shift=0.05), FLIPS[5])
    sides = set()
    for index in range(12):
        pixels, placed = faces[index]
        x, y = ((placed.view(-1, 2) + 1) * 56 - 0.5).round().int()[2].tolist()
        assert float(pixels[2, y, x]) > 0.85 * float(pixels[2].max()), "the nose is blue alone"
        eye = ((placed.view(-1, 2) + 1) * 56 - 0.5).round().int()[0].tolist()
        sides.add(bool(pixels[0, eye[1], eye[0]] > pixels[1, eye[1], eye[0]]))
    assert sides == {True, False}, "some are mirrored, and then the left eye is the one that was right"


def test_what_is_drawn_depends_on_seed_epoch_and_index(tmp_path):
    write_folder(tmp_path, "train", shaken(FACE, 3, seed=4))
    points = read_points(tmp_path, "train")

    def look(seed, epoch, index):
        faces = PointFaces(points, seed, Jitter(degrees=30), FLIPS[5])
        faces.epoch.fill_(epoch)
        for other in range(3):
            faces[other]
        return faces[index][1].tolist()

    assert look(1, 0, 2) == look(1, 0, 2)
    assert len({tuple(look(*which)) for which in ((1, 0, 2), (2, 0, 2), (1, 1, 2), (1, 0, 1))}) == 4


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        ({"degrees": 181}, "degrees is 181; expected a number from 0 to 180"),
        ({"scale": -0.1}, "scale is -0.1"),
        ({"frame": 0.5}, "frame is 0.5"),
    ],
)
def test_amounts_out_of_range_are_refused(amount, message):
    with pytest.raises(RecipeError, match=message):
        Jitter(**amount)
