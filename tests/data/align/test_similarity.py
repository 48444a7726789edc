"""Five points on the template, to the last bit as scikit-image places them."""

import numpy as np
import pytest

from insightface_cakd.data.align.similarity import TEMPLATE, align, similarity


@pytest.mark.parametrize("seed", range(4))
def test_the_matrix_is_that_of_scikit_image(seed):
    transform = pytest.importorskip("skimage.transform")
    random = np.random.default_rng(seed)
    for _ in range(100):
        points = random.normal(100, 10 ** random.uniform(-2, 2), (5, 2)).astype(np.float32)
        expected = transform.SimilarityTransform.from_estimate(points, TEMPLATE).params[:2]
        assert np.array_equal(similarity(points), expected)


def test_a_moved_turned_and_scaled_template_comes_back():
    turn = np.deg2rad(30)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (1.7 * TEMPLATE @ rotation.T + [40, -9]).astype(np.float32)
    matrix = similarity(points)
    assert np.abs(points @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE).max() < 1e-3


def test_one_point_five_times_fits_nowhere():
    points = np.full((5, 2), 50, np.float32)
    assert similarity(points) is None
    assert align(np.zeros((60, 60, 3), np.uint8), points) is None


def test_an_aligned_picture_is_only_turned_to_rgb():
    bgr = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    assert np.abs(align(bgr, TEMPLATE).astype(int) - bgr[..., ::-1]).max() <= 1
