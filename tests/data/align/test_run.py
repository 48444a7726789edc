"""Folders of photos: what is made of them, what is reported, and that nothing depends on the number of workers."""

import json
import shutil

import cv2
import numpy as np
import pytest

from insightface_cakd.data.align.photo import Rules
from insightface_cakd.data.align.photos import find_photos
from insightface_cakd.data.align.run import Work, align_photos
from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.images import read_bytes
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError
from tests.commands import contents
from tests.data.record_files import jpeg


@pytest.fixture(scope="module")
def detector(shared_data):
    return shared_data / "models" / "scrfd_500m.onnx"


@pytest.fixture
def people(shared_data, tmp_path):
    """Three people with two photos each, a damaged file, a picture without a face, one that is no image, one alone."""
    folder, photos = tmp_path / "photos", shared_data / "photos"
    for name, numbers in {"anna": (0, 1), "bert": (3, 4), "carl": (5, 6)}.items():
        (folder / name).mkdir(parents=True)
        for number in numbers:
            shutil.copy(photos / f"photo_{number}.jpg", folder / name)
    (folder / "anna" / "cut.jpg").write_bytes(read_bytes(photos / "photo_0.jpg")[:4000])
    (folder / "bert" / "notes.txt").write_text("hello")
    (folder / "dora").mkdir()
    (folder / "dora" / "0.jpg").write_bytes(jpeg(1, 200, 200))
    return folder


def align(folder, out, detector, kind="rec", **more):
    return align_photos(folder, out, Work(detector, kind, size=320, max_corrupt=0.2, **more))


def test_records_with_a_report(people, detector, tmp_path):
    seen = []
    work = Work(detector, size=320, max_corrupt=0.2)
    alignment = align_photos(people, tmp_path / "data", work, lambda *step: seen.append(step))
    assert seen == [(number, 8) for number in range(1, 9)]
    records = FaceRecords(tmp_path / "data")
    assert [records[i][1] for i in range(len(records))] == [0, 0, 1, 1, 2, 2]
    report = json.loads((tmp_path / "data" / "align.json").read_text())
    assert (report["photos"], report["aligned"], report["people"]) == (8, 6, 3)
    assert report["reasons"] == {"corrupt file": 1, "no face": 1}
    assert [(one["photo"], one["reason"]) for one in report["left_out"]] == [
        ("anna/cut.jpg", "corrupt file"),
        ("dora/0.jpg", "no face"),
    ]
    assert (report["people_without_faces"], report["skipped"]) == (["dora"], ["bert/notes.txt"])
    lines = alignment.summary(tmp_path / "data", tmp_path / "data" / "align.json").splitlines()
    assert lines[0] == f"{tmp_path / 'data'}: 6 faces of 3 people from 8 photos"
    assert "left out, no face: 1 (dora/0.jpg)" in lines
    assert "people without a face: 1 (dora)" in lines


def test_faces_lie_where_the_stated_points_say(shared_data, detector, tmp_path):
    """Against photos.json, least squares written out with numpy."""
    template = np.array(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    )
    align(shared_data / "photos", tmp_path / "faces", detector, "folder", rules=Rules(quality=100))
    stated = json.loads((shared_data / "photos" / "photos.json").read_text())["photos"]
    for name in ("photo_0.jpg", "photo_1.jpg"):
        points = np.array(stated[name]["faces"][0]["points"])
        rows = [row for x, y in points for row in ([x, -y, 1, 0], [y, x, 0, 1])]
        a, b, right, down = np.linalg.lstsq(np.array(rows), template.ravel(), rcond=None)[0]
        photo = cv2.imread(str(shared_data / "photos" / name))
        expected = cv2.warpAffine(photo, np.array([[a, -b, right], [b, a, down]]), (112, 112))
        found = cv2.imread(str(tmp_path / "faces" / name))
        assert np.abs(found.astype(int) - expected).mean() < 8, name


def test_the_number_of_workers_changes_nothing(people, detector, tmp_path):
    for workers in (1, 2):
        align(people, tmp_path / str(workers), detector, "folder", workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert sorted(contents(tmp_path / "1"))[:3] == ["align.json", "anna", "anna/photo_0.jpg"]


def test_a_verification_set(shared_data, detector, tmp_path):
    for name, number in {"anna": 0, "bert": 1}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for copy in range(5):
            shutil.copy(shared_data / "photos" / f"photo_{number}.jpg", tmp_path / "photos" / name / f"{copy}.jpg")
    align(tmp_path / "photos", tmp_path / "dev.bin", detector, "bin", pairs=20)
    assert load_bin(tmp_path / "dev.bin").same.tolist().count(True) == 10
    assert json.loads((tmp_path / "dev.bin.align.json").read_text())["aligned"] == 10


def test_crops_of_files_that_differ_in_suffix_or_folder(tmp_path):
    for name in ("p/a.jpg", "p/a.png", "p/x/a.jpg", "p/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(jpeg(0))
    photos = find_photos(tmp_path)
    assert photos.crops == ["p/a.jpg", "p/a_2.jpg", "p/b.jpg", "p/a_3.jpg"]
    assert [file.name for file in photos.files] == ["a.jpg", "a.png", "b.jpg", "a.jpg"]


def refused(message, tmp_path, *arguments, **more):
    before = contents(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        align(*arguments, **more)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def test_too_many_damaged_files(people, detector, tmp_path):
    (people / "anna" / "empty.jpg").touch()
    message = r"2 of 9 files are corrupt \(anna/cut.jpg: the JPEG of 4000 bytes is truncated.*anna/empty.jpg"
    refused(message, tmp_path, people, tmp_path / "out", detector)


def test_no_face_at_all(people, detector, tmp_path):
    refused("none of 8 photos gave a face", tmp_path, people, tmp_path / "out", detector, rules=Rules(min_face=9999))


def test_one_person(people, detector, tmp_path):
    for name in ("bert", "carl"):
        shutil.rmtree(people / name)
    (people / "anna" / "cut.jpg").unlink()
    refused("faces of 1 people; a rec needs at least 2", tmp_path, people, tmp_path / "out", detector)


def test_folders_that_hold_nothing_to_align(detector, shared_data, tmp_path):
    (tmp_path / "empty").mkdir()
    refused("empty: is empty; expected photos", tmp_path, tmp_path / "empty", tmp_path / "out", detector)
    refused("none: no such folder", tmp_path, tmp_path / "none", tmp_path / "out", detector)
    refused("lie side by side; a rec needs one", tmp_path, shared_data / "photos", tmp_path / "out", detector)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    refused("full: exists already", tmp_path, shared_data / "photos", tmp_path / "full", detector, "folder")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_detector_that_is_none(people, shared_data, tmp_path, workers):
    recogniser = shared_data / "models" / "pixels_floor.onnx"
    message = "insightface takes it for a recognition model; expected a detector that finds five points"
    refused(message, tmp_path, people, tmp_path / "out", recogniser, workers=workers)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    refused("bad.onnx: insightface cannot load it", tmp_path, people, tmp_path / "out", tmp_path / "bad.onnx")
    refused("none.onnx: does not exist", tmp_path, people, tmp_path / "out", tmp_path / "none.onnx")
