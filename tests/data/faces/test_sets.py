"""Drawn people as folders, and as a training set with a verification set of others."""

import numpy as np
import pytest

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.faces import Person, View, draw_face, write_face_set
from insightface_cakd.data.faces.sets import QUALITY, draw_folders
from insightface_cakd.data.images import decode_rgb, encode_jpeg
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError


def test_a_range_of_people_can_be_drawn_in_parts(tmp_path):
    """So several processes, or a later run with more people, make the same pictures."""
    draw_folders(tmp_path / "all", range(4), 2, seed=7)
    draw_folders(tmp_path / "late", range(2, 4), 2, seed=7)
    late = sorted(path.relative_to(tmp_path / "late") for path in (tmp_path / "late").rglob("*.jpg"))
    assert [str(path) for path in late] == ["000002/000.jpg", "000002/001.jpg", "000003/000.jpg", "000003/001.jpg"]
    assert all((tmp_path / "all" / path).read_bytes() == (tmp_path / "late" / path).read_bytes() for path in late)


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
    with pytest.raises(DataError, match=r"set: cannot be written \(No space left on device\); nothing was left"):
        write_face_set(tmp_path / "set", people=3, pictures=3, pairs=20)
    assert list(tmp_path.iterdir()) == []
