"""Heat maps stand where the attention is; the numbers about them agree with slow counting."""

import numpy as np
import pytest

from insightface_cakd.show.attention import centroids, chosen, heat, overlap, peaks, sentences
from tests.show.views import four, one_patch, view

GRIDS = [(7, 7), (12, 12), (14, 14), (3, 5)]


@pytest.mark.parametrize(("rows", "columns"), GRIDS)
def test_all_attention_on_one_patch_is_hot_in_the_pixels_of_that_patch_and_nowhere_beyond_its_neighbours(rows, columns):
    high, wide = 112 / rows, 112 / columns
    for row in range(rows):
        for column in range(columns):
            picture = heat(one_patch(rows, columns, row, column))
            y, x = np.unravel_index(picture.argmax(), picture.shape)
            assert (int((y + 0.5) / high), int((x + 0.5) / wide)) == (row, column)
            ys, xs = np.nonzero(picture)
            assert row - 1 <= ys.min() / high
            assert (ys.max() + 1) / high <= row + 2
            assert column - 1 <= xs.min() / wide
            assert (xs.max() + 1) / wide <= column + 2


def test_left_is_left_and_above_is_above():
    picture = heat(one_patch(7, 7, 1, 5))
    assert picture[:56].sum() > 0 == picture[56:].sum()
    assert picture[:, 56:].sum() > 0 == picture[:, :56].sum()


@pytest.mark.parametrize(("rows", "columns"), GRIDS)
def test_equal_attention_is_1_everywhere_on_any_grid(rows, columns):
    assert heat(np.full((2, rows, columns), 1 / (rows * columns))) == pytest.approx(1, abs=1e-5)


def test_values_stand_at_the_centres_of_the_patches():
    maps = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    picture = heat(maps, size=7 * 15)
    assert picture[7::15, 7::15] == pytest.approx(maps * 49, rel=1e-5)


def test_peaks_and_centroids_are_in_pixels_of_the_face_x_first():
    maps = np.stack([one_patch(7, 7, 4, 3), (one_patch(7, 7, 0, 0) * 3 + one_patch(7, 7, 0, 6)) / 4])
    assert peaks(maps).tolist() == [[56, 72], [8, 8]]
    assert centroids(maps) == pytest.approx(np.array([[56, 72], [32, 8]]))


def test_the_share_of_tokens_without_a_place_is_what_the_patches_lack():
    assert view(maps=np.full((1, 2, 7, 7), 0.75 / 49)).elsewhere == pytest.approx(0.25)
    assert view().elsewhere == pytest.approx(0, abs=1e-6)


def test_patches_are_counted_by_entropy():
    assert view().patches == pytest.approx(49)
    assert view(maps=one_patch(7, 7, 2, 2)[None, None]).patches == pytest.approx(1)
    half = (one_patch(7, 7, 2, 2) + one_patch(7, 7, 2, 3)) / 4  # the rest goes to prompts
    assert view(maps=half[None, None]).patches == pytest.approx(2)


class TestOverlap:
    def test_is_1_for_equal_maps_on_any_grid(self):
        assert overlap(view(), view(maps=np.full((2, 3, 12, 12), 1 / 144))) == pytest.approx((1, 1))

    def test_of_places_far_apart_is_0_and_of_swapped_centres_is_with_others(self):
        far = np.stack([one_patch(7, 7, 0, 0), one_patch(7, 7, 6, 6)])
        assert overlap(view(maps=far[None]), view(maps=far[None])) == pytest.approx((1, 0))
        assert overlap(view(maps=far[None]), view(maps=far[None, ::-1])) == pytest.approx((0, 1))

    def test_is_the_sum_of_the_smaller_shares(self):
        rng = np.random.default_rng(0)
        ours, theirs = (rng.dirichlet(np.ones(49), size=(2, 3)).reshape(2, 3, 7, 7) for _ in range(2))
        expected = []
        for one, other in zip(ours.reshape(-1, 7, 7), theirs.reshape(-1, 7, 7), strict=True):
            first, second = heat(one, 28), heat(other, 28)
            expected.append(np.minimum(first / first.sum(), second / second.sum()).sum())
        assert overlap(view(maps=ours), view(maps=theirs))[0] == pytest.approx(np.mean(expected), rel=1e-5)

    def test_of_a_single_centre_has_no_others(self):
        one = view(maps=one_patch(7, 7, 1, 1)[None, None])
        assert overlap(one, one) == pytest.approx((1, 1))


def test_centres_are_chosen_evenly_from_first_to_last():
    assert chosen(9, 16) == list(range(9))
    assert chosen(16, 16) == list(range(16))
    some = chosen(49, 16)
    assert (len(set(some)), some[0], some[-1]) == (16, 0, 48)
    assert set(np.diff(some)) <= {3, 4}


class TestSentences:
    def test_say_how_many_centres_faces_and_patches(self):
        first = sentences(four(teacher=np.full((2, 3, 12, 12), 1 / 144)), range(3))[0]
        assert (
            first
            == "All 3 centres; the student's map has 7x7 patches, the teacher's 12x12. Numbers are means over 2 faces."
        )

    def test_say_which_centres_where_not_all_are_shown(self):
        assert sentences(four(np.full((1, 49, 7, 7), 1 / 49)), chosen(49, 16))[0].startswith(
            "16 of 49 centres, evenly chosen"
        )

    def test_say_what_goes_to_prompts_and_nothing_where_there_are_none(self):
        assert not any("prompts" in line for line in sentences(four(), range(3)))
        lines = sentences(four(teacher=np.full((2, 3, 7, 7), 0.75 / 49)), range(3))
        assert any(
            "Of the teacher's attention 25.0% before and 25.0% after training goes to tokens" in line for line in lines
        )
