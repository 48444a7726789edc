"""Broken faces, records and verification sets: every command that reads them says which file, and writes nothing."""

import re
import shutil

import pytest

from tests.commands import cakd, contents, error_line, refused, train
from tests.data.record_files import image_record, insightface_set, jpeg, people_folder, write_set

SAVED = {"model.pt", "best.pt", "checkpoint_gpu_0.pt", "result.json", "run.json"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own(face_set, folder):
    """Return a copy of the face set that may be damaged."""
    return shutil.copytree(face_set, folder / "data")


def stops_training(data, message, here, **settings):
    """A run stops with the line, and nothing that looks like a result is in its folder."""
    line = error_line(cakd(*train(data, **settings)))
    assert re.match(message, line), line
    assert not SAVED & set(contents(here / "out"))


def folders(here, kind):
    """Make an input folder that is no training set."""
    faces = here / "faces"
    if kind == "file":
        faces.write_text("not a folder")
    elif kind != "missing":
        faces.mkdir()
    if kind == "loose images":
        (faces / "0.jpg").write_bytes(jpeg(0))
    if kind == "folders without images":
        (faces / "a").mkdir()
        (faces / "a" / "notes.txt").write_text("hello")
    if kind == "one person":
        people_folder(faces, {"anna": 3})
    return faces


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"faces: no such folder"),
        ("file", r"faces: no such folder"),
        ("empty", r"faces: (no subfolder holds images|0 people; expected at least 10)"),
        ("loose images", r"faces: (no subfolder holds images|0 people; expected at least 10)"),
        ("folders without images", r"faces: (no subfolder holds images|\d people; expected at least 10)"),
        ("one person", r"faces: (one person|1 person; expected at least 10)"),
    ],
)
def test_a_folder_that_is_no_training_set(kind, message, here):
    faces = folders(here, kind)
    for command in (
        ["data", "pack", "faces", "new/out"],
        ["data", "make-bin", "faces", "new/dev.bin", "--pairs", "20"],
        ["data", "split", "faces", "new/out"],
        ["quickstart", "--data", "faces", "--output", "new/out"],
        train(faces.name, val_targets=[], batch_size=2),
    ):
        # What is no folder is taken for a list of pairs.
        is_list = kind in ("missing", "file") and command[1] == "make-bin"
        refused(command, r"faces: (cannot be read|line 1 is)" if is_list else message, here)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"faces/b/bad\.jpg: it has 0 bytes; expected a whole image"),
        (jpeg(5)[:1500], r"faces/b/bad\.jpg: the JPEG of 1500 bytes is truncated"),
        (
            b"GIF89a, or not even that",
            r"faces/b/bad\.jpg: 24 bytes \(47 49 .*\) are not an image OpenCV reads; expected",
        ),
        (jpeg(5, 112, 96), r"faces/b/bad\.jpg: 96 x 112 pixels; expected an aligned square face"),
    ],
    ids=["empty", "truncated", "no image", "not square"],
)
def test_one_bad_image_among_good_ones(content, message, here):
    people_folder(here / "faces", {name: 2 for name in "abcdefghij"})
    (here / "faces" / "b" / "bad.jpg").write_bytes(content)
    refused(["data", "pack", "faces", "new/out"], message, here)
    (here / "list.txt").write_text("faces/a/0.jpg faces/b/bad.jpg 0\n")
    refused(["data", "make-bin", "list.txt", "new/dev.bin"], message, here)


def without_image(data):
    """Zero the bytes of the last image, not those of its frame."""
    content = bytearray((data / "train.rec").read_bytes())
    start = content.rindex(b"\xff\xd8\xff")
    content[start : start + 400] = bytes(400)
    (data / "train.rec").write_bytes(content)


def overwritten(data):
    content = bytearray((data / "train.rec").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 9000] = bytes(9000)
    (data / "train.rec").write_bytes(content)


def cut_off(data):
    content = (data / "train.rec").read_bytes()
    (data / "train.rec").write_bytes(content[: len(content) // 2])


def with_another_index(data):
    insightface_set(data / "other", [2] * 20)
    (data / "other" / "train.idx").replace(data / "train.idx")


def with_a_short_index(data):
    lines = (data / "train.idx").read_text().splitlines(keepends=True)
    (data / "train.idx").write_text("".join(lines[:5]))


RECORDS = [
    (cut_off, r"data/train\.rec: record \d+ at offset \d+: "),
    (overwritten, r"data/train\.rec: record \d+ at offset \d+: "),
    (without_image, r"data/train\.rec: record \d+ at offset \d+: \d+ bytes \(00 .*\) are not an image"),
    (with_another_index, r"data/train\.(rec|idx): "),
    (with_a_short_index, r"data/train\.(rec|idx): .*(index|Index)"),
    (lambda data: (data / "train.idx").unlink(), r"data/train\.idx: cannot be read"),
    (lambda data: (data / "train.idx").write_text(""), r"data/train\.idx: holds no records"),
    (lambda data: (data / "train.idx").write_text("a\tb\n"), r"data/train\.idx: .*; expected lines `key<TAB>offset`"),
    (lambda data: (data / "train.rec").write_bytes(b""), r"data/train\.rec: "),
]


@pytest.mark.parametrize(("damage", "message"), RECORDS, ids=lambda value: getattr(value, "__name__", str(value)[-30:]))
def test_records_that_are_damaged_or_of_another_index(damage, message, here, face_set):
    data = own(face_set, here)
    damage(data)
    refused(["data", "unpack", "data", "new/out"], message, here)
    checked = error_line(cakd("data", "check", "data"))
    assert re.match(rf"{message}|data: \d+ errors, listed above; expected none", checked), checked
    stops_training("data", message, here)


def test_a_truncated_image_in_a_whole_record_is_found_by_the_check(here):
    """It decodes as far as it goes, as in mxnet, so it does not stop a run."""
    write_set(here / "data", {0: image_record(0, 0, jpeg(0)[:1500]), 1: image_record(1, 1, jpeg(1))})
    ran = cakd("data", "check", "data")
    assert error_line(ran).startswith("data: 1 errors, listed above")
    assert "record 0 at offset 0: the JPEG of 1500 bytes is truncated" in ran.out
    refused(["data", "unpack", "data", "new/out"], r"data/train\.rec: record 0 .* truncated", here)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([0, 1, 5], {"num_classes": 3}, r"data: image 2 has label 5, and 1 images like it are outside \[0, 3\)"),
        ([0, -1, 2], {}, r"data/train\.rec: record 1 .*label -1 is not an identity"),
        ([0, 0.5, 2], {}, r"data/train\.rec: record 1 .*label 0\.5 is not an identity; expected a whole number"),
        ([0, float("nan"), 2], {}, r"data/train\.rec: record 1 .*label nan is not an identity"),
    ],
)
def test_a_label_outside_the_classes(labels, settings, message, here):
    write_set(here / "data", {key: image_record(label, key, jpeg(key)) for key, label in enumerate(labels)})
    refused(train("data", val_targets=[], batch_size=2, **settings), message, here)
    classes = ["--num-classes", settings["num_classes"]] if settings else []
    assert error_line(cakd("data", "check", "data", *classes)).startswith("data: 1 errors, listed above")
