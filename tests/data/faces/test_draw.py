"""A picture of a person in a view: every part of either shows, and lies where it should."""

from dataclasses import replace

import numpy as np
import pytest

from insightface_cakd.data.faces import Person, View, draw_face

SHAPE = [
    "face height",
    "jaw width",
    "chin",
    "eye distance",
    "eye size",
    "eye openness",
    "eye slant",
    "brow height",
    "brow thickness",
    "brow angle",
    "nose length",
    "nose width",
    "mouth width",
    "upper lip",
    "lower lip",
    "mouth height",
    "hairline",
    "ear size",
]
GREEN = np.array([0.0, 255.0, 0.0])

# Everything that makes a picture hard, switched off.
PLAIN = View(
    yaw=0.0,
    pitch=0.0,
    roll=0.0,
    scale=1.0,
    shift=np.zeros(2),
    light=np.array([0.0, 0.0, 1.0]),
    tint=np.ones(3),
    smile=0.0,
    open_mouth=0.0,
    brows=0.0,
    lids=0.0,
    gaze=np.zeros(2),
    background=np.array([(90.0, 90.0, 90.0), (90.0, 90.0, 90.0)]),
    cover="",
    dye=None,
    blur=0.0,
    noise=0.0,
    detail=112,
    seed=3,
)
CHANGES = {
    "yaw": 0.3,
    "pitch": 0.2,
    "roll": 0.1,
    "scale": 1.1,
    "shift": np.array([3.0, 0.0]),
    "light": np.array([0.3, 0.0, 1.0]),
    "tint": np.array([1.1, 1.0, 0.9]),
    "smile": 0.5,
    "open_mouth": 0.2,
    "brows": 0.15,
    "lids": 0.8,
    "gaze": np.array([0.5, 0.0]),
    "background": np.array([(200.0, 90.0, 90.0), (90.0, 90.0, 90.0)]),
    "dye": GREEN,
    "blur": 2.0,
    "noise": 6.0,
    "detail": 36,
}


def person(**changes) -> Person:
    """A person in the middle of every scale, with colours that nothing else in the picture has."""
    everyone = {
        "shape": np.zeros(18),
        "skin": np.array([200.0, 160.0, 130.0]),
        "hair": np.array([60.0, 40.0, 30.0]),
        "iris": GREEN,
        "moles": np.zeros((0, 3)),
    }
    return Person(**{**everyone, **changes})


def moved(name: str, value: float) -> Person:
    shape = np.zeros(18)
    shape[SHAPE.index(name)] = value
    return person(shape=shape)


def green(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that are green, which here are the irises'."""
    red, is_green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return np.nonzero((is_green > red + 60) & (is_green > blue + 60))


def eye_distance(picture: np.ndarray) -> float:
    _, columns = green(picture)
    return columns[columns > 56].mean() - columns[columns < 56].mean()


def brightness(picture: np.ndarray) -> float:
    return float(picture.mean())


def test_a_picture_is_112_pixels_of_rgb_bytes():
    picture = draw_face(person(), replace(PLAIN, background=np.array([(250.0, 0.0, 0.0), (250.0, 0.0, 0.0)])))
    assert picture.shape == (112, 112, 3)
    assert picture.dtype == np.uint8
    assert picture[0, 0].tolist() == [250, 0, 0], "red comes first"


@pytest.mark.parametrize("number", range(len(SHAPE)), ids=SHAPE)
def test_every_part_of_the_shape_shows_in_a_picture(number):
    low, high = (draw_face(moved(SHAPE[number], value), PLAIN).astype(int) for value in (-1.0, 1.0))
    assert (np.abs(high - low).max(axis=2) > 20).sum() >= 10


@pytest.mark.parametrize(("part", "value"), [("skin", GREEN), ("hair", GREEN), ("moles", np.array([(0.3, 0.4, 0.05)]))])
def test_every_colour_and_mole_shows_in_a_picture(part, value):
    assert not np.array_equal(draw_face(person(), PLAIN), draw_face(person(**{part: value}), PLAIN))


@pytest.mark.parametrize("part", CHANGES)
def test_every_part_of_a_view_changes_the_picture(part):
    plain, changed = draw_face(person(), PLAIN), draw_face(person(), replace(PLAIN, **{part: CHANGES[part]}))
    assert np.abs(plain.astype(int) - changed).max() > 10


def test_the_eyes_stand_as_far_apart_as_the_shape_says():
    """Half the distance is 0.42 + 0.07 of half a face's width, which is 31 pixels: 2 * 31 * 0.07 pixels each way."""
    near, middle, far = (eye_distance(draw_face(moved("eye distance", value), PLAIN)) for value in (-1.0, 0.0, 1.0))
    assert middle == pytest.approx(2 * 31 * 0.42, abs=1.0)
    assert far - middle == pytest.approx(2 * 31 * 0.07, abs=1.0)
    assert middle - near == pytest.approx(2 * 31 * 0.07, abs=1.0)


def test_a_turn_of_the_head_brings_the_eyes_together_and_to_one_side():
    """Points at depth z move by z * sin(yaw) and shrink by cos(yaw) across."""
    front, turned = (draw_face(person(), replace(PLAIN, yaw=yaw)) for yaw in (0.0, 0.4))
    across = [green(picture)[1].mean() for picture in (front, turned)]
    assert across[1] - across[0] == pytest.approx(31 * 0.72 * np.sin(0.4), abs=2.0)
    _rows, columns = green(turned)
    width = columns[columns > across[1]].mean() - columns[columns < across[1]].mean()
    assert width == pytest.approx(eye_distance(front) * np.cos(0.4), abs=1.5)


def test_roll_turns_the_picture_clockwise():
    rows, columns = green(draw_face(person(), replace(PLAIN, roll=0.2)))
    left, right = rows[columns < columns.mean()].mean(), rows[columns > columns.mean()].mean()
    assert right - left == pytest.approx(2 * 31 * 0.42 * np.sin(0.2), abs=1.0)


def test_light_from_the_right_makes_the_right_half_brighter():
    picture = draw_face(person(), replace(PLAIN, light=np.array([0.4, 0.0, 1.0])))
    assert brightness(picture[:, 56:]) > 1.3 * brightness(picture[:, :56])


def test_closed_lids_hide_the_irises():
    assert green(draw_face(person(), PLAIN))[0].size > 4 * green(draw_face(person(), replace(PLAIN, lids=0.9)))[0].size


def test_blur_and_lost_detail_take_fine_structure_away():
    def roughness(picture: np.ndarray) -> float:
        return float(np.abs(np.diff(picture.astype(int), axis=1)).mean())

    plain = roughness(draw_face(person(), PLAIN))
    assert roughness(draw_face(person(), replace(PLAIN, blur=2.0))) < 0.8 * plain
    assert roughness(draw_face(person(), replace(PLAIN, detail=36))) < 0.9 * plain
    assert roughness(draw_face(person(), replace(PLAIN, noise=6.0))) > 1.5 * plain


@pytest.mark.parametrize(("cover", "top", "bottom"), [("glasses", 45, 70), ("mask", 64, 110), ("hat", 0, 45)])
def test_a_cover_hides_its_part_of_the_face_and_no_other(cover, top, bottom):
    """Row 59 + 31 y: the eyes lie at 51 to 61, the mask from y = 0.18 down, the brim of the hat ends at y = -0.55."""
    plain, covered = (
        draw_face(person(), PLAIN).astype(int),
        draw_face(person(), replace(PLAIN, cover=cover)).astype(int),
    )
    rows = np.nonzero(np.abs(plain - covered).max(axis=(1, 2)) > 30)[0]
    assert rows.size > 5
    assert top <= rows.min()
    assert rows.max() <= bottom


def test_a_patch_is_one_rectangle_of_one_colour():
    plain, covered = (
        draw_face(person(), PLAIN).astype(int),
        draw_face(person(), replace(PLAIN, cover="patch")).astype(int),
    )
    rows, columns = np.nonzero(np.abs(plain - covered).max(axis=2) > 5)
    inside = covered[rows.min() + 2 : rows.max() - 1, columns.min() + 2 : columns.max() - 1]
    assert inside.size > 300
    assert inside.std(axis=(0, 1)).max() < 1
