"""Verification sets and lists of pairs that are none, or that want to run code."""

import pickle
import shutil

import pytest

from tests.commands import refused, train
from tests.data.record_files import jpeg, people_folder
from tests.networks.onnx_models import channel_means


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_verification_set_that_is_not_there(here, face_set):
    message = r"val_targets: .*lfw\.bin does not exist; found: dev\. Remove lfw from val_targets, or make it"
    refused(train(face_set, val_targets=["dev", "lfw"]), message, here)


class Runs:
    """Unpickling this makes a folder."""

    def __reduce__(self):
        import os

        return os.mkdir, ("ran",)


def pairs(count=10, image=None):
    image = image or jpeg(0)
    return [image] * (2 * count), [number % 2 == 0 for number in range(count)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            pickle.dumps(Runs()),
            r"lfw\.bin: its pickle names '(posix|nt|os)\.mkdir', which may run code; expected bytes",
        ),
        (pickle.dumps((pairs()[0], [Runs()] * 10)), r"lfw\.bin: its pickle names '\w+\.mkdir', which may run code"),
        (pickle.dumps(pairs())[:1500], r"lfw\.bin: not a readable pickle \(.*\); expected an InsightFace \.bin"),
        (b"", r"lfw\.bin: not a readable pickle"),
        (b"not a pickle", r"lfw\.bin: not a readable pickle"),
        (pickle.dumps([1]), r"lfw\.bin: its pickle is no pair \(images, same\)"),
        (pickle.dumps((pairs()[0][:-1], pairs()[1])), r"lfw\.bin: 19 images for 10 pairs; expected 20"),
        (pickle.dumps(pairs(image=b"no image")), r"lfw\.bin: image 0: 8 bytes .* are not an image"),
        (pickle.dumps(pairs(image=jpeg(0, 112, 96))), r"lfw\.bin: image 0: 96 x 112 pixels; expected"),
        (pickle.dumps(pairs(3)), r"(verification set|lfw\.bin): 2 same and 1 different pairs; expected both kinds"),
    ],
    ids=["code", "code inside", "truncated", "empty", "text", "no pair", "odd", "no images", "not square", "few"],
)
def test_a_verification_set_that_is_none(content, message, here, face_set):
    channel_means(here / "means.onnx")
    shutil.copytree(face_set, here / "data")
    (here / "data" / "lfw.bin").write_bytes(content)
    pattern = rf"(data/)?{message}"
    refused(["eval", "bin", "means.onnx", "data/lfw.bin"], pattern, here)
    refused(train("data", val_targets=["lfw"]), pattern, here)
    assert not (here / "ran").exists()


def test_a_folder_where_a_file_is_expected(here):
    (here / "lfw.bin").mkdir()
    channel_means(here / "means.onnx")
    refused(["eval", "bin", "means.onnx", "lfw.bin"], r"lfw\.bin: a folder without \.bin files; expected", here)
    (here / "folder.onnx").mkdir()
    refused(["eval", "bin", "folder.onnx", "lfw.bin"], r"folder\.onnx: a folder without model\.pt; expected", here)
    (here / "data" / "train.rec").mkdir(parents=True)
    refused(["data", "info", "data"], r"data/train\.rec: ", here)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("faces/a/0.jpg faces/b/0.jpg 2\n", r"list\.txt: line 1 is .*; expected `first second 0\|1`"),
        ("faces/a/0.jpg\n", r"list\.txt: line 1 is .*; expected `first second 0\|1`"),
        ("\nfaces/a/0.jpg faces/b/9.jpg 0\n", r"list\.txt: line 2 names faces/b/9\.jpg, no such file"),
        ("", r"list\.txt: holds no pairs"),
    ],
)
def test_a_list_of_pairs_that_is_none(lines, message, here):
    people_folder(here / "faces", {"a": 1, "b": 1})
    (here / "list.txt").write_text(lines)
    refused(["data", "make-bin", "list.txt", "new/dev.bin"], message, here)


def test_more_pairs_than_there_are(here):
    people_folder(here / "faces", {"a": 2, "b": 2})
    make = ["data", "make-bin", "faces", "new/dev.bin", "--pairs"]
    refused([*make, "20"], r"faces: 2 same and 4 different pairs to draw from; 20 need 10 of each", here)
    refused([*make, "30"], r"30 pairs: expected a multiple of 20", here)
