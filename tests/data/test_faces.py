"""Drawn faces: what stays with a person, what changes with a view, and the files made of them."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.faces import Person, View, draw_face, write_face_set
from insightface_cakd.data.faces.sets import QUALITY, draw_folders
from insightface_cakd.data.images import decode_rgb, encode_jpeg
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError

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


def test_people_and_views_are_the_same_for_the_same_numbers_only():
    def picture(seed: int, number: int, view: int) -> bytes:
        return draw_face(Person.draw(seed, number), View.draw(seed, number, view)).tobytes()

    pictures = {picture(*numbers) for numbers in [(7, 0, 0), (8, 0, 0), (7, 1, 0), (7, 0, 1)]}
    assert len(pictures) == 4
    assert picture(7, 0, 0) in pictures


def test_a_picture_depends_on_its_numbers_and_not_on_the_process_or_on_what_was_drawn_before():
    code = (
        "import numpy, sys; from insightface_cakd.data.faces import *; numpy.random.seed(5); "
        "[draw_face(Person.draw(7, n), View.draw(7, n, 0)) for n in (9, 4)]; "
        "sys.stdout.buffer.write(draw_face(Person.draw(7, 2), View.draw(7, 2, 1)).tobytes())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert elsewhere == draw_face(Person.draw(7, 2), View.draw(7, 2, 1)).tobytes()


def test_drawing_leaves_numpys_own_random_numbers_alone():
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    draw_face(Person.draw(7, 0), View.draw(7, 0, 0))
    assert np.random.get_state()[1].tolist() == before


def test_a_range_of_people_can_be_drawn_in_parts(tmp_path):
    """So several processes, or a later run with more people, make the same pictures."""
    draw_folders(tmp_path / "all", range(4), 2, seed=7)
    draw_folders(tmp_path / "late", range(2, 4), 2, seed=7)
    late = sorted(path.relative_to(tmp_path / "late") for path in (tmp_path / "late").rglob("*.jpg"))
    assert [str(path) for path in late] == ["000002/000.jpg", "000002/001.jpg", "000003/000.jpg", "000003/001.jpg"]
    assert all((tmp_path / "all" / path).read_bytes() == (tmp_path / "late" / path).read_bytes() for path in late)


def test_colour_and_pixels_alone_do_not_tell_who_it_is():
    """Best threshold on 300 pairs: what needs no learning stays far below what the tiny networks reach (79 to 86 %)."""
    views = np.array([[draw_face(Person.draw(7, n), View.draw(7, n, k)) for k in range(2)] for n in range(150)], float)
    faces = views[:, :, 40:90, 35:78]
    for described in (faces.mean(axis=(2, 3)), faces.reshape(150, 2, -1)):
        same = np.linalg.norm(described[:, 0] - described[:, 1], axis=1)
        different = np.linalg.norm(described[:, 0] - np.roll(described[:, 1], 1, axis=0), axis=1)
        thresholds = np.concatenate([same, different])[:, None]
        accuracy = ((same < thresholds).mean(axis=1) + (different >= thresholds).mean(axis=1)).max() / 2
        assert accuracy < 0.75


def pictures_of(people: range, count: int, seed: int) -> set[bytes]:
    """Pixels of everyone's pictures, drawn here one by one and sent through the JPEG codec."""
    return {
        decode_rgb(encode_jpeg(draw_face(Person.draw(seed, n), View.draw(seed, n, k)), QUALITY), "here").tobytes()
        for n in people
        for k in range(count)
    }


def test_a_face_set_trains_on_some_people_and_verifies_on_others(tmp_path):
    seen = []
    write_face_set(
        tmp_path / "set", people=5, pictures=3, pairs=20, seed=7, name="other", progress=lambda *at: seen.append(at)
    )
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "other.bin",
        "property",
        "train.idx",
        "train.rec",
    ]
    records, verification = FaceRecords(tmp_path / "set"), load_bin(tmp_path / "set" / "other.bin")
    assert {records[i][0].tobytes() for i in range(len(records))} == pictures_of(range(5), 3, seed=7)
    assert [records[i][1] for i in range(len(records))] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert {np.asarray(image).tobytes() for image in verification.images} <= pictures_of(range(5, 13), 3, seed=7)
    assert (len(verification.same), sum(verification.same)) == (20, 10)
    assert (seen[0], seen[-1]) == ((3, 39), (39, 39)), "pictures drawn, and 13 people with 3 each in all"


def test_equal_seeds_give_equal_files(tmp_path):
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        write_face_set(tmp_path / name, people=3, pictures=3, pairs=20, seed=seed)
    for file in ("train.rec", "dev.bin"):
        one, two, three = ((tmp_path / name / file).read_bytes() for name in ("one", "two", "three"))
        assert one == two
        assert one != three


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ({"people": 1}, "people is 1; expected at least 2"),
        ({"pictures": 1}, "pictures is 1; expected at least 2"),
        ({"seed": -1}, "seed is -1; expected at least 0"),
        ({"pairs": 30}, "30 pairs of 8 people with 4 pictures each; expected a multiple of 20, at most 80"),
        ({"pairs": 100}, "100 pairs of 8 people with 4 pictures each; expected a multiple of 20, at most 80"),
        ({"pairs": 0}, "0 pairs of 8 people"),
    ],
)
def test_numbers_that_give_no_face_set_stop_before_anything_is_drawn(numbers, text, tmp_path):
    drawn = []
    with pytest.raises(DataError, match=text):
        write_face_set(
            tmp_path / "set",
            **{"people": 3, "pictures": 4, "pairs": 20, **numbers},
            progress=lambda *at: drawn.append(at),
        )
    assert drawn == []
    assert list(tmp_path.iterdir()) == []


def test_the_largest_number_of_pairs_is_one_that_can_be_had(tmp_path):
    write_face_set(tmp_path / "set", people=3, pictures=4, pairs=80, seed=7)
    assert len(load_bin(tmp_path / "set" / "dev.bin").same) == 80


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"set: exists already; expected a new or empty folder"):
        write_face_set(tmp_path / "set", people=3, pictures=3, pairs=20)
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["mine.txt"]


def test_nothing_is_left_when_a_later_step_fails(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("insightface_cakd.data.faces.sets.make_bin", fail)
    with pytest.raises(DataError, match=r"set: cannot be written: No space left on device; nothing was left"):
        write_face_set(tmp_path / "set", people=3, pictures=3, pairs=20)
    assert list(tmp_path.iterdir()) == []
