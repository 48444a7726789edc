"""Folders of photos: what is made of them, what is reported, and that nothing depends on the number of workers."""

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time

import cv2
import numpy as np
import pytest

from insightface_cakd.data.align import run
from insightface_cakd.data.align.photo import Rules
from insightface_cakd.data.align.photos import find_photos
from insightface_cakd.data.align.run import Work, align_photos
from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.images import read_bytes
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError, RunError
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


def test_what_was_skipped_or_is_not_there_is_printed(people, detector, tmp_path):
    (people / "anna" / "cut.jpg").unlink()
    (people / "anna" / "p.gif").write_bytes(b"GIF89a")
    (people / "empty").mkdir()
    (people / "carl" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (people / "zoe").symlink_to(tmp_path / "nobody")
    alignment = align(people, tmp_path / "data", detector)
    lines = alignment.summary(tmp_path / "data", tmp_path / "report").splitlines()
    assert "skipped, no image or in no person's folder: 4 (anna/p.gif; bert/notes.txt; empty/; ...)" in lines
    assert alignment.skipped[3] == "zoe (a link to nothing)"
    assert alignment.first("corrupt file") == "carl/gone.jpg: a link to a file that is not there"


def test_photos_side_by_side_with_others(shared_data, tmp_path):
    shutil.copy(shared_data / "photos" / "photo_0.jpg", tmp_path / "a.jpg")
    (tmp_path / "b.heic").touch()
    (tmp_path / "c.jpg").symlink_to(tmp_path / "nowhere.jpg")
    photos = find_photos(tmp_path)
    assert [file.name for file in photos.files] == ["a.jpg", "c.jpg"]
    assert photos.skipped == ["b.heic"]


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


@pytest.mark.parametrize(("number", "said"), [(signal.SIGSTOP, "gives no answer"), (signal.SIGKILL, "was killed")])
def test_a_worker_that_is_stopped_or_killed(number, said, people, detector, tmp_path, monkeypatch):
    """The pool has no limit of its own, and would not end with a stopped process in it."""
    monkeypatch.setattr(run, "PATIENCE", 4)
    before = set(multiprocessing.active_children())

    def signal_all():
        # Not the first alone: the pool starts them one by one, and the other could align every photo.
        while len(set(multiprocessing.active_children()) - before) < 2:
            time.sleep(0.01)
        for worker in set(multiprocessing.active_children()) - before:
            os.kill(worker.pid, number)

    threading.Thread(target=signal_all, daemon=True).start()
    with pytest.raises(RunError, match=rf"align: a worker {said}.*, near .*photos.*; expected one that lives as long"):
        align(people, tmp_path / "out", detector, "folder", workers=2)
    assert not (tmp_path / "out").exists()
    assert not set(multiprocessing.active_children()) - before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_detector_that_is_none(people, shared_data, tmp_path, workers):
    recogniser = shared_data / "models" / "pixels_floor.onnx"
    message = "insightface takes it for a recognition model; expected a detector that finds five points"
    refused(message, tmp_path, people, tmp_path / "out", recogniser, workers=workers)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    refused("bad.onnx: insightface cannot load it", tmp_path, people, tmp_path / "out", tmp_path / "bad.onnx")
    refused("none.onnx: does not exist", tmp_path, people, tmp_path / "out", tmp_path / "none.onnx")


@pytest.mark.parametrize(("size", "nearest"), [(1, 32), (7, 32), (31, 32), (33, 32), (100, 96), (1000, 992), (-32, 32)])
def test_a_size_that_the_detector_has_no_anchors_for(people, detector, tmp_path, size, nearest):
    message = f"--det-size {size}: is no multiple of 32, .* Take {nearest}\\."
    with pytest.raises(DataError, match=message):
        align_photos(people, tmp_path / "out", Work(detector, size=size))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("pairs", "message"), [(30, "30 pairs: expected a multiple of 20"), (0, "0 pairs"), (-20, "-20")]
)
def test_pairs_that_no_set_can_have_are_refused_before_any_work(people, tmp_path, pairs, message):
    refused(message, tmp_path, people, tmp_path / "dev.bin", tmp_path / "unread.onnx", "bin", pairs=pairs)


def test_more_pairs_than_the_photos_can_give(people, tmp_path):
    message = f"^{people}: 5 same and 23 different pairs"
    refused(message, tmp_path, people, tmp_path / "dev.bin", tmp_path / "unread.onnx", "bin", pairs=20)


def test_more_pairs_than_the_faces_can_give(shared_data, detector, tmp_path):
    """Ten photos would do, one has no face; the error names the photos, not where the faces lay."""
    for name, number in {"anna": 0, "bert": 1}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for copy in range(2 if name == "bert" else 5):
            shutil.copy(shared_data / "photos" / f"photo_{number}.jpg", tmp_path / "photos" / name / f"{copy}.jpg")
    (tmp_path / "photos" / "anna" / "4.jpg").write_bytes(jpeg(1, 200, 200))
    message = f"^{tmp_path / 'photos'}: 7 same and 8 different pairs"
    refused(message, tmp_path, tmp_path / "photos", tmp_path / "dev.bin", detector, "bin", pairs=20)
