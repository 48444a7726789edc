"""What a user hands in: a face stays as it is, a photo is looked at, and anything else is refused by its name."""

import numpy as np
import pytest

from insightface_cakd.data.align.given import face_of, look_at
from insightface_cakd.data.align.photo import Rules
from insightface_cakd.data.images import encode_png
from insightface_cakd.errors import DataError
from tests.data.align.test_photo import Finds, face
from tests.data.record_files import jpeg, picture, tagged


def test_an_aligned_face_is_not_looked_at():
    class Never:
        def find(self, bgr):
            raise AssertionError("it was")

    assert np.array_equal(face_of(picture(1), Never()), picture(1))


def test_an_aligned_face_keeps_its_pixels_whatever_its_tag_says(tmp_path):
    (tmp_path / "a.jpg").write_bytes(tagged(jpeg(4), 6))
    assert np.abs(face_of(tmp_path / "a.jpg").astype(int) - picture(4)).max() <= 12


def test_a_photo_is_the_same_as_pixels_and_as_a_file(tmp_path):
    """The detector says that the face lies on the template, 200 to the right and 100 down."""
    photo = picture(3, 400, 600)
    (tmp_path / "a.png").write_bytes(encode_png(photo))
    for image in (photo, tmp_path / "a.png", str(tmp_path / "a.png")):
        found = face_of(image, Finds(face(200, 100, 112)))
        assert np.abs(found.astype(int) - photo[100:212, 200:312]).max() <= 1


def test_why_a_photo_gives_none_is_found_or_raised():
    several = Finds(face(), face(300, 0, 112))
    found = look_at(picture(3, 400, 600), several, Rules("skip"))
    assert (found.face, found.reason, found.why) == (None, "several faces", "several faces (2 faces)")
    with pytest.raises(DataError, match=r"^image 7: no face; expected a photo with a face that can be taken\."):
        face_of(picture(3, 400, 600), Finds(), where="image 7")
