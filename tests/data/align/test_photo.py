"""One photo: which face is taken, and why none is."""

import cv2
import numpy as np
import pytest

from insightface_cakd.data.align.detector import Face
from insightface_cakd.data.align.photo import Rules, align_photo, read_photo
from insightface_cakd.data.images import decode_rgb
from tests.data.record_files import jpeg, picture, tagged

TEMPLATE = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]], np.float32)


class Finds:
    """A detector that finds what it is told."""

    def __init__(self, *faces):
        self.faces = sorted(faces, key=lambda face: -face.score)

    def find(self, bgr):
        if isinstance(self.faces, Exception):
            raise self.faces
        return self.faces


def face(left=0.0, top=0.0, side=112.0, score=0.9):
    return Face((left, top, left + side, top + side), score, TEMPLATE * side / 112 + [left, top])


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(cv2.imencode(".png", picture(3, 400, 600)[..., ::-1])[1].tobytes())
    return path


def test_the_face_is_brought_onto_the_template(photo):
    outcome = align_photo(photo, Finds(face(200, 100, 112)), Rules())
    assert (outcome.reason, outcome.faces) == (None, 1)
    found = decode_rgb(outcome.jpeg, "crop").astype(int)
    assert np.abs(found - picture(3, 400, 600)[100:212, 200:312]).max() <= 6


def test_policies(photo):
    large, central, faint = face(0, 0, 150, 0.6), face(250, 150, 100, 0.9), face(400, 0, 300, 0.4)
    detector = Finds(large, central, faint)
    crops = {policy: align_photo(photo, detector, Rules(policy)) for policy in ("largest", "central", "skip")}
    assert crops["largest"].jpeg == align_photo(photo, Finds(large), Rules()).jpeg
    assert crops["central"].jpeg == align_photo(photo, Finds(central), Rules()).jpeg
    assert crops["largest"].faces == 2
    assert (crops["skip"].reason, crops["skip"].detail) == ("several faces", "2 faces")


@pytest.mark.parametrize(
    ("faces", "reason", "detail"),
    [
        ([], "no face", ""),
        ([face(score=0.45), face(score=0.3)], "low score", "best 0.45, below 0.5"),
        ([face(side=20), face(side=30)], "too small", "30 pixels, below 32"),
        ([Face((0, 0, 99, 99), 0.9, np.ones((5, 2), np.float32))], "bad points", "the five points lie on one spot"),
        (
            [Face((0, 0, 99, 99), 0.9, np.full((5, 2), np.nan, np.float32))],
            "bad points",
            "the five points lie on one spot",
        ),
    ],
)
def test_why_a_photo_gives_no_face(photo, faces, reason, detail):
    outcome = align_photo(photo, Finds(*faces), Rules())
    assert (outcome.reason, outcome.detail, outcome.jpeg) == (reason, detail, b"")


def test_a_small_face_in_the_background_is_no_second_one(photo):
    assert align_photo(photo, Finds(face(), face(300, 0, 20)), Rules("skip")).reason is None


@pytest.mark.parametrize(
    ("content", "detail"), [(b"", "it has 0 bytes"), (jpeg(0)[:-20], "truncated"), (b"GIF89a", "are not an image")]
)
def test_corrupt_files(tmp_path, content, detail):
    (tmp_path / "a.jpg").write_bytes(content)
    outcome = align_photo(tmp_path / "a.jpg", Finds(face()), Rules())
    assert outcome.reason == "corrupt file"
    assert detail in outcome.detail


def test_a_strip_that_the_detector_cannot_scale(photo):
    detector = Finds()
    detector.faces = cv2.error("resize")
    assert align_photo(photo, detector, Rules()).reason == "no face"


def test_a_photo_is_turned_as_its_camera_says(tmp_path):
    (tmp_path / "a.jpg").write_bytes(tagged(jpeg(4, 80, 60), 6))
    upright = cv2.rotate(cv2.cvtColor(decode_rgb(jpeg(4, 80, 60), ""), cv2.COLOR_RGB2BGR), cv2.ROTATE_90_CLOCKWISE)
    assert np.array_equal(read_photo(tmp_path / "a.jpg"), upright)
