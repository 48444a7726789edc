"""The picture of the local centres: every map on its face, in its place."""

from dataclasses import replace

import numpy as np
import pytest

from insightface_cakd.data.images import decode_rgb
from insightface_cakd.errors import EvaluationError
from insightface_cakd.show.picture import Look, apart, as_png, draw, overlay, save_picture
from tests.data.record_files import disk_full_after
from tests.show.views import four, one_patch

LANDMARKS = np.array([(38.3, 51.7), (73.5, 51.5), (56.0, 71.7), (41.5, 92.4), (70.7, 92.2)])


def look(faces=1, maps=None, heads=1):
    maps = np.full((faces, 3, 7, 7), 1 / 49) if maps is None else maps
    pictures = np.random.default_rng(0).integers(0, 256, (faces, 112, 112, 3)).astype(np.uint8)
    return Look(pictures, four(maps), pictures.mean(axis=(0, 3)), LANDMARKS, heads)


def words(look, tmp_path):
    save_picture(draw(look, "a title"), tmp_path / "picture.svg")
    # Glyphs are outlines; matplotlib writes each text as a comment beside them.
    return (tmp_path / "picture.svg").read_text()


def test_a_hot_patch_hides_its_pixels_and_no_others():
    face = np.full((112, 112, 3), 128, np.uint8)
    warmth = np.zeros((112, 112))
    warmth[16:32, 80:96] = 1
    shown = overlay(face, warmth)
    cold = shown[0, 0]
    assert (shown[16:32, 80:96] != cold).all(axis=-1).all()
    warm = np.zeros((112, 112), bool)
    warm[16:32, 80:96] = True
    assert (shown[~warm] == cold).all()
    assert cold == pytest.approx(128 / 255, abs=0.06), "what is cold shows the face"


def tiles(figure):
    """Return the maps as drawn, row by row: (rows, tiles, 112, 112, 3)."""
    wide = [
        axes.images[0].get_array() for axes in figure.axes if axes.images and axes.images[0].get_array().shape[1] > 112
    ]
    return np.stack([[row[:, 3 + 118 * i : 115 + 118 * i] for i in range(row.shape[1] // 118)] for row in wide])


def test_each_map_is_drawn_on_its_face_in_its_patch():
    places = [(1, 5), (5, 0), (3, 3)]
    maps = np.stack([one_patch(7, 7, *place) for place in places])[None]
    dark = replace(look(maps=maps), faces=np.zeros((1, 112, 112, 3), np.uint8))
    drawn = tiles(draw(dark, "title"))
    assert drawn.shape[:2] == (4, 3)
    for row in drawn:
        for tile, (r, c) in zip(row, places, strict=True):
            light = tile.sum(axis=-1)
            y, x = np.unravel_index(light.argmax(), light.shape)
            assert (y // 16, x // 16) == (r, c)


def test_the_first_face_has_four_rows_and_each_other_has_those_after_training():
    assert tiles(draw(look(faces=3), "title")).shape[:2] == (8, 3)


def test_rows_columns_and_panels_are_named(tmp_path):
    text = words(look(), tmp_path)
    for word in (
        "a title",
        "student",
        "teacher",
        "before",
        "after",
        "student, after training",
        "1 = uniform",
        "All 3 centres",
    ):
        assert word in text, word


@pytest.mark.parametrize(("centres", "drawn"), [(1, 1), (16, 16), (49, 16)])
def test_any_number_of_centres_has_a_picture(centres, drawn):
    one = look(maps=np.full((1, centres, 12, 12), 1 / 144))
    figure = draw(one, "title")
    assert tiles(figure).shape[1] == drawn
    if centres == 49:
        numbers = {text.get_text() for text in figure.texts}
        assert {"1", "49", "33"} <= numbers
        assert "2" not in numbers


def test_means_of_heads_are_called_so():
    assert "Maps are means of 4 heads." in look(heads=4).caption[0]
    assert "heads" not in look().caption[0]


def test_marks_on_one_place_are_moved_apart_and_others_are_not():
    places = np.array([[8.0, 8.0], [56.0, 72.0], [8.0, 8.0]])
    moved = apart(places, 3)
    assert moved[1].tolist() == [56, 72]
    assert np.linalg.norm(moved[[0, 2]] - [8, 8], axis=1) == pytest.approx(3)
    assert np.linalg.norm(moved[0] - moved[2]) == pytest.approx(6)


@pytest.mark.parametrize(
    ("suffix", "begins"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")]
)
def test_the_name_says_the_format(suffix, begins, tmp_path):
    save_picture(draw(look(), "title"), tmp_path / f"picture{suffix}")
    assert (tmp_path / f"picture{suffix}").read_bytes().startswith(begins)


def test_another_format_is_refused(tmp_path):
    with pytest.raises(
        EvaluationError, match=r"picture\.gif: no name of a picture; expected one that ends in \.png, \.pdf, \.svg"
    ):
        save_picture(draw(look(), "title"), tmp_path / "picture.gif")


def test_a_full_disk_leaves_the_former_picture(tmp_path):
    (tmp_path / "picture.png").write_text("former")
    figure = draw(look(), "title")
    with disk_full_after(100), pytest.raises(EvaluationError, match=r"picture\.png: cannot be written"):
        save_picture(figure, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_text() == "former"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_png_for_a_page_is_an_image():
    assert decode_rgb(as_png(draw(look(), "title")), "picture").shape[1] > 1500
