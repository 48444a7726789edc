"""`cakd.load(...)`: what `embed` takes, what it gives, and what it refuses; the model is the means of the channels."""

import shutil

import cv2
import numpy as np
import pytest

import insightface_cakd as cakd
from insightface_cakd.data.images import encode_png
from insightface_cakd.errors import DataError, EvaluationError
from tests.data.record_files import picture
from tests.networks.onnx_models import channel_means


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return cakd.load(channel_means(tmp_path_factory.mktemp("model") / "means.onnx"), device="cpu")


@pytest.fixture
def detector(shared_data):
    return shared_data / "models" / "scrfd_500m.onnx"


def means(face):
    """The model in NumPy: pixels (x - 127.5) / 127.5, averaged over the image."""
    return (face.astype(np.float64) - 127.5).mean(axis=(0, 1)) / 127.5


def test_several_faces_are_an_array(model):
    faces = np.stack([picture(seed) for seed in range(5)])
    rows = model.embed(faces, batch_size=2)
    assert (rows.dtype, rows.shape) == (np.float32, (5, 3))
    assert rows == pytest.approx(np.stack([means(face) for face in faces]), abs=1e-5)


def test_paths_and_pixels_may_be_mixed_and_one_stands_alone(model, tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(encode_png(picture(1)))
    mixed = model.embed(one for one in (path, picture(2), str(path)))
    assert mixed == pytest.approx(np.stack([means(picture(seed)) for seed in (1, 2, 1)]), abs=1e-5)
    for alone in (path, str(path), picture(1)):
        assert model.embed(alone) == pytest.approx(mixed[:1])


def test_no_image_gives_no_row(model):
    assert model.embed([]).shape == (0, 3)
    assert model.faces([]).shape == (0, 112, 112, 3)


def test_more_images_than_lie_in_memory_at_a_time(model, monkeypatch):
    monkeypatch.setattr("insightface_cakd.api.recogniser.CHUNK", 2)
    faces = [picture(seed) for seed in range(5)]
    assert model.embed(faces) == pytest.approx(np.stack([means(face) for face in faces]), abs=1e-5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            picture(0, 160, 120),
            r"^image 1: 120 x 160 pixels; expected an aligned face of 112 x 112\. Align it .* give a detector",
        ),
        (picture(0).astype(np.float32), r"^image 1: float32 \(112, 112, 3\); expected a path, or pixels as uint8"),
        (picture(0)[..., 0], r"^image 1: uint8 \(112, 112\); expected"),
        (None, r"^image 1: a NoneType; expected"),
    ],
)
def test_what_is_no_aligned_face_is_refused_by_its_number(image, message, model):
    with pytest.raises(DataError, match=message) as caught:
        model.embed([picture(1), image])
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_face_is_refused_by_its_path(model, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"GIF89a")
    for name, message in (("a.jpg", r"a\.jpg: .*not an image"), ("b.jpg", r"b\.jpg: cannot be read")):
        with pytest.raises(DataError, match=message):
            model.embed(tmp_path / name)
    with pytest.raises(DataError, match=r"^images: a int; expected a path"):
        model.embed(3)


def test_a_file_that_is_no_recogniser_is_refused_when_it_is_loaded(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no")
    with pytest.raises(EvaluationError, match=r"a\.onnx"):
        cakd.load(tmp_path / "a.onnx")
    with pytest.raises(EvaluationError, match="does not exist"):
        cakd.load(tmp_path / "none.onnx")


def test_it_says_what_it_is(model):
    assert repr(model).startswith("<Recogniser 'means' of ")
    assert repr(model).endswith("means.onnx: aligned faces -> (N, 3), onnxruntime on cpu>")


class TestPhotos:
    @pytest.fixture
    def looking(self, model, detector):
        return cakd.load(model.entry.path, detector=detector, device="cpu")

    def test_the_face_of_a_photo_is_aligned_as_data_align_does_it(self, looking, shared_data, detector, tmp_path):
        from insightface_cakd.data.align.run import Work, align_photos

        shutil.copy(shared_data / "photos" / "photo_0.jpg", tmp_path)
        align_photos(tmp_path, tmp_path.parent / "out", Work(detector, "folder"))
        written = cv2.imread(str(tmp_path.parent / "out" / "photo_0.jpg"))[..., ::-1]
        (face,) = looking.faces(tmp_path / "photo_0.jpg")
        assert np.abs(face.astype(int) - written).mean() < 3
        assert looking.embed(tmp_path / "photo_0.jpg")[0] == pytest.approx(means(face), abs=1e-5)
        pixels = cv2.imread(str(tmp_path / "photo_0.jpg"))[..., ::-1]
        assert np.array_equal(looking.faces(pixels)[0], face)

    def test_an_aligned_face_stays_as_it_is(self, looking):
        assert np.array_equal(looking.faces(picture(3))[0], picture(3))

    def test_a_photo_without_a_face_is_refused(self, looking):
        with pytest.raises(DataError, match=r"^image 0: no face; expected a photo with a face"):
            looking.embed([picture(1, 300, 300)])

    def test_which_of_several_faces_is_said_by_a_rule(self, model, detector, shared_data):
        crowd = shared_data / "photos" / "photo_7.jpg"
        central = cakd.load(model.entry.path, detector=detector, several="central").faces(crowd)
        largest = cakd.load(model.entry.path, detector=detector).faces(crowd)
        assert central.shape == largest.shape == (1, 112, 112, 3)
        with pytest.raises(DataError, match=r"photo_7\.jpg: several faces \(\d faces\)"):
            cakd.load(model.entry.path, detector=detector, several="skip").faces(crowd)
        assert "photos -> (N, 3)" in repr(cakd.load(model.entry.path, detector=detector))
