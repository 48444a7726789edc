"""People are either trained on or verified with, never both."""

import numpy as np
import pytest

from insightface_cakd.data.bins import load_bin, read_bin
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.data.split import split_faces
from insightface_cakd.errors import DataError
from tests.data.record_files import disk_full_after, jpeg, people_folder


def faces(root, people=12, images=4):
    return people_folder(root / "faces", {f"person_{number}": images for number in range(people)})


def payloads(folder):
    """Return the encoded images of a training set, with labels."""
    records = FaceRecords(folder)
    return [(records.reader.read(key).payload, records[index][1]) for index, key in enumerate(records.keys.tolist())]


def owners(root):
    """Return image bytes -> whose folder they are in."""
    return {path.read_bytes(): path.parent.name for path in root.rglob("*.jpg")}


@pytest.mark.parametrize(("people", "held_out"), [(10, 2), (12, 2), (25, 5)])
def test_a_fifth_of_the_people_is_held_out_and_nobody_is_in_both(people, held_out, tmp_path):
    root = faces(tmp_path, people)
    split_faces(root, tmp_path / "out", "dev", seed=3)
    whose = owners(root)
    trained = {whose[payload] for payload, _ in payloads(tmp_path / "out")}
    verified = {whose[payload] for payload in read_bin(tmp_path / "out" / "dev.bin")[0]}
    assert trained.isdisjoint(verified)
    assert len(trained) == people - held_out
    assert len(verified) == held_out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dev.bin",
        "property",
        "train.idx",
        "train.rec",
    ]


def test_a_label_is_one_person_and_every_image_is_there(tmp_path):
    root = faces(tmp_path)
    split_faces(root, tmp_path / "out", "dev", seed=3)
    whose, found = owners(root), payloads(tmp_path / "out")
    assert len(found) == 10 * 4
    pairs = {(whose[payload], label) for payload, label in found}
    assert len(pairs) == len({label for _, label in pairs}) == FaceRecords(tmp_path / "out").num_classes == 10


def test_pairs_are_of_one_person_where_they_say_so(tmp_path):
    root = faces(tmp_path)
    split_faces(root, tmp_path / "out", "dev", seed=3)
    images, same = read_bin(tmp_path / "out" / "dev.bin")
    whose = owners(root)
    assert [whose[images[2 * i]] == whose[images[2 * i + 1]] for i in range(len(same))] == same
    assert sum(same) == len(same) / 2


def test_equal_seeds_give_equal_files_and_others_other_people(tmp_path):
    root = faces(tmp_path, people=20)
    held_out = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        split_faces(root, tmp_path / name, "dev", seed)
        held_out.append({owners(root)[image] for image in read_bin(tmp_path / name / "dev.bin")[0]})
    for file in ("train.rec", "train.idx", "property", "dev.bin"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert held_out[0] == held_out[1] != held_out[2]


def test_there_are_at_most_as_many_pairs_as_asked_for_and_as_can_be_had(tmp_path):
    """Two people with 4 images have 12 same pairs; in tens, so that every fold is balanced, 10."""
    root = faces(tmp_path)
    split_faces(root, tmp_path / "out", "lfw", seed=3, pairs=600)
    assert len(load_bin(tmp_path / "out" / "lfw.bin").same) == 20
    more = people_folder(tmp_path / "more", {f"{number}": 8 for number in range(10)})
    split_faces(more, tmp_path / "out2", "lfw", seed=3, pairs=40)
    assert len(load_bin(tmp_path / "out2" / "lfw.bin").same) == 40


def test_the_input_stays_as_it_is_and_loose_files_do_not_count(tmp_path):
    root = faces(tmp_path)
    (root / "list.txt").write_text("not a person")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    split_faces(root, tmp_path / "out", "dev", seed=3)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert np.unique(FaceRecords(tmp_path / "out").labels()).tolist() == list(range(10))


def test_a_folder_given_relative_to_the_working_directory(tmp_path, monkeypatch):
    faces(tmp_path)
    monkeypatch.chdir(tmp_path)
    split_faces(
        tmp_path.joinpath("faces").relative_to(tmp_path), tmp_path.joinpath("out").relative_to(tmp_path), "dev", 3
    )
    assert FaceRecords(tmp_path / "out").num_classes == 10


@pytest.mark.parametrize(
    ("people", "images", "message"),
    [
        (0, 0, r"faces: no subfolder holds images; expected one subfolder for each person"),
        (9, 4, r"faces: 9 people; expected at least 10, one folder each, .* `cakd data pack`"),
        (12, 1, r"faces: the 2 people held out have too few images for 20 pairs, .*; expected several images"),
    ],
)
def test_too_few_people_or_images(people, images, message, tmp_path):
    (tmp_path / "faces").mkdir()
    root = faces(tmp_path, people, images)
    with pytest.raises(DataError, match=message):
        split_faces(root, tmp_path / "out", "dev", seed=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces"]


def test_a_folder_that_is_missing_or_in_use(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder; expected aligned 112x112 faces"):
        split_faces(tmp_path / "nowhere", tmp_path / "out", "dev", seed=3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"out: exists already; expected a new or empty folder"):
        split_faces(faces(tmp_path), tmp_path / "out", "dev", seed=3)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_bad_image_leaves_nothing_behind_whoever_it_shows(tmp_path):
    """Training images are packed first, pairs made after: neither may leave a half-written folder."""
    for person in range(12):
        root = faces(tmp_path / str(person))
        (root / f"person_{person}" / "0.jpg").write_bytes(jpeg(0)[:500])
        with pytest.raises(DataError, match=rf"person_{person}/0\.jpg: the JPEG of 500 bytes is truncated"):
            split_faces(root, tmp_path / str(person) / "out", "dev", seed=3, pairs=20)
        assert not (tmp_path / str(person) / "out").exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    root = faces(tmp_path)
    with disk_full_after(20_000), pytest.raises(DataError, match=r"out: cannot be written"):
        split_faces(root, tmp_path / "out", "dev", seed=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces"]
