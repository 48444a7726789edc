"""`cakd embed` and `cakd verify`: photos or faces in, embeddings or a verdict out; the model is the means of the channels."""

import json
import shutil

import cv2
import numpy as np
import pytest

from insightface_cakd.data.images import encode_png
from tests.commands import cakd, refused
from tests.data.record_files import picture
from tests.evaluate.verification_files import write_set
from tests.networks.onnx_models import channel_means


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model, three faces and a set."""
    monkeypatch.chdir(tmp_path)
    channel_means(tmp_path / "means.onnx")
    (tmp_path / "faces" / "anna").mkdir(parents=True)
    for seed, name in enumerate(("0.png", "2.png", "anna/1.png")):
        (tmp_path / "faces" / name).write_bytes(encode_png(picture(seed)))
    write_set(tmp_path / "dev.bin", pairs=40)
    return tmp_path


def row(seed):
    return (picture(seed).astype(np.float64) - 127.5).mean(axis=(0, 1)) / 127.5


def cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


class TestEmbed:
    def test_faces_of_a_folder_and_a_file(self, here):
        ran = cakd("embed", "means.onnx", "faces", "faces/2.png", "--output", "out.npz", "--device", "cpu")
        assert ran.code == 0, ran.err
        assert ran.out == "out.npz: 4 embeddings of 3 numbers\n"
        with np.load(here / "out.npz") as found:
            assert found["files"].tolist() == ["faces/0.png", "faces/2.png", "faces/anna/1.png", "faces/2.png"]
            assert found["embeddings"] == pytest.approx(np.stack([row(seed) for seed in (0, 1, 2, 1)]), abs=1e-5)
            assert found["embeddings"].dtype == np.float32
            assert found["left_out"].shape == (0,)

    def test_a_photo_without_a_face_is_left_out_and_named(self, here, shared_data):
        shutil.copy(shared_data / "photos" / "photo_0.jpg", here / "a.jpg")
        (here / "b.png").write_bytes(encode_png(picture(1, 300, 300)))
        detector = shared_data / "models" / "scrfd_500m.onnx"
        ran = cakd("embed", "means.onnx", "a.jpg", "b.png", "--output", "out.npz", "--detector", detector)
        assert ran.out == "out.npz: 1 embeddings of 3 numbers\nleft out, b.png: no face\n"
        with np.load(here / "out.npz") as found:
            assert (found["files"].tolist(), found["left_out"].tolist()) == (["a.jpg"], ["b.png: no face"])
        line = r"embed: none of 1 files gives a face \(b\.png: no face\)"
        refused(["embed", "means.onnx", "b.png", "--output", "no.npz", "--detector", detector], line, here)

    def test_a_damaged_file_is_left_out_where_that_is_allowed(self, here):
        (here / "faces" / "cut.png").write_bytes(encode_png(picture(1))[:500])
        given = ["embed", "means.onnx", "faces", "--output", "out.npz"]
        refused(given, r"faces/cut\.png: .*truncated", here)
        ran = cakd(*given, "--max-corrupt", 1)
        assert ran.code == 0, ran.err
        assert "3 embeddings of 3 numbers\nleft out, faces/cut.png: the PNG" in ran.out

    def test_what_is_refused(self, here):
        (here / "large.png").write_bytes(encode_png(picture(0, 200, 160)))
        (here / "empty").mkdir()
        for photos, output, line in (
            ("large.png", "o.npz", r"large\.png: 160 x 200 pixels; expected an aligned face of 112 x 112"),
            ("empty", "o.npz", r"empty: a folder without images"),
            ("none.png", "o.npz", r"none\.png: cannot be read"),
            ("faces", "o.txt", r"o\.txt: expected a name that ends in \.npz"),
        ):
            refused(["embed", "means.onnx", photos, "--output", output], line, here)


class TestVerify:
    def test_without_a_threshold_there_is_a_similarity_and_no_verdict(self, here):
        ran = cakd("verify", "means.onnx", "faces/0.png", "faces/2.png", "--json", "v.json")
        assert ran.code == 0, ran.err
        said = json.loads((here / "v.json").read_text())
        assert said["similarity"] == pytest.approx(cosine(row(0), row(1)), abs=1e-4)
        assert (said["threshold"], said["same"], said["first"]) == (None, None, "faces/0.png")
        assert ran.out.startswith(f"similarity {said['similarity']:.4f}, no verdict (no threshold was given")

    def test_with_one_there_is_a_verdict_and_a_picture(self, here):
        same = ["verify", "means.onnx", "faces/0.png", "faces/0.png", "--threshold", 0.9, "--picture", "both.png"]
        ran = cakd(*same)
        assert ran.out == "similarity 1.0000, same person (threshold 0.9000: given by hand)\npicture: both.png\n"
        first = cv2.imread("both.png")
        assert first.shape[1] > 700
        assert cakd(*same).code == 0
        assert np.array_equal(cv2.imread("both.png"), first)

    def test_a_threshold_is_measured_on_a_set(self, here):
        given = ["verify", "means.onnx", "faces/0.png", "faces/2.png", "--threshold-from", "dev.bin"]
        assert "best on dev.bin" in cakd(*given).out
        assert "accepts at most 0.1 of the 20 different pairs of dev.bin" in cakd(*given, "--far", 0.1).out

    def test_photos_of_one_person_and_of_two(self, shared_data, here):
        models, photos = shared_data / "models", shared_data / "photos"
        stated = json.loads((photos / "photos.json").read_text())
        given = ["verify", models / "edgeface_xs.onnx", "--detector", models / "scrfd_500m.onnx", "--threshold", 0.4]
        for numbers, verdict in (((3, 4), "same person"), ((0, 3), "different people")):
            assert verdict in cakd(*given, *(photos / f"photo_{number}.jpg" for number in numbers)).out
        assert stated

    def test_what_is_refused(self, here):
        two = ["verify", "means.onnx", "faces/0.png", "faces/2.png"]
        for more, line in (
            (["--far", 0.1], r"--far 0\.1: given without --threshold-from"),
            (["--threshold", 0.1, "--threshold-from", "dev.bin"], r"--threshold and --threshold-from: expected one"),
            (["--picture", "a.jpg"], r"a\.jpg: no name of a picture"),
            (["--threshold-from", "dev.bin", "--far", 0.01], r"dev\.bin: 20 different pairs, and a share of 0\.01"),
        ):
            refused([*two, *more], line, here)
