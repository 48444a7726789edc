"""`cakd eval landmarks`: a run, weights and an .onnx on a set, with floors, every error and a page."""

import json
import re

import numpy as np
import pytest
import torch

from insightface_cakd.data.landmarks.points import to_units
from insightface_cakd.data.landmarks.sets import read_points
from insightface_cakd.evaluate.landmarks.measure import BOX_SHAPE, SHAPE, measure_points, shape_floors
from insightface_cakd.export.landmarks import export_landmarks
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import cakd, error_line
from tests.point_sets import FACE, face_68, shaken, write_folder


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    folder = tmp_path_factory.mktemp("points")
    write_folder(folder, "train", shaken(FACE, 12, seed=1))
    write_folder(folder, "test", shaken(FACE, 8, seed=2))
    return folder


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return get_model("cnn_tiny", num_features=10).eval()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.pt"
    torch.save(network.state_dict(), path)
    return path


def test_weights_are_measured_beside_the_mean_shape(points, network, weights, tmp_path):
    out = tmp_path / "r.json"
    page = tmp_path / "r.html"
    ran = cakd("eval", "landmarks", weights, points, "--network", "cnn_tiny", "--json", out, "--report", page)
    assert ran.code == 0, ran.err
    facts = json.loads(out.read_text())
    given = read_points(points, "test")
    assert facts["nme_eye_centres"] == pytest.approx(measure_points(network, given).value, abs=1e-6)
    assert np.mean(facts["image_errors"]["eye_centres"]) == pytest.approx(facts["nme_eye_centres"], abs=1e-6)
    assert len(facts["image_errors"]["box"]) == 8
    assert re.search(r"\| mean shape +\| +eye centres \|", ran.out)
    text = page.read_text()
    assert "Largest errors" in text
    assert "Errors about the median" in text
    assert text.count("data:image/jpeg;base64") == 8, "each face once"
    assert "the model has learnt nothing" in text or "which looks at no image." in text


def test_the_mean_shape_is_that_of_the_training_set(points):
    train, test = read_points(points, "train"), read_points(points, "test")
    floors = shape_floors(test, train)
    mean = train.points.mean(axis=0)
    np.testing.assert_allclose(floors[SHAPE], np.broadcast_to(mean, test.points.shape), atol=1e-3)
    low, high = (getattr(test.points[3], side)(axis=0) for side in ("min", "max"))
    boxed = floors[BOX_SHAPE][3]
    # Spots are moved and scaled alike, so in its true box each face is the mean shape.
    np.testing.assert_allclose(boxed, test.points[3], atol=0.02)
    np.testing.assert_allclose((boxed.min(axis=0), boxed.max(axis=0)), (low, high), atol=1e-3)


def test_an_exported_model_finds_the_same_points(points, network, tmp_path):
    export_landmarks(network, tmp_path / "m.onnx", {})
    ran = cakd("eval", "landmarks", tmp_path / "m.onnx", points, "--json", tmp_path / "r.json")
    assert ran.code == 0, ran.err
    facts = json.loads((tmp_path / "r.json").read_text())
    # 74 x 80 pixels are resized to 192 and 112, or to 112 at once: nearly the same.
    assert facts["nme_eye_centres"] == pytest.approx(
        measure_points(network, read_points(points, "test")).value, rel=0.02
    )


def test_an_export_has_no_half_pixel_between_it_and_its_network(tmp_path):
    """A network that answers the same units whatever it sees must come out at the same pixels, however decoded."""

    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.units = torch.nn.Parameter(torch.from_numpy(to_units(FACE, (74, 80))).float().view(1, 10))

        def forward(self, images):
            return self.units + 0 * images.mean(dim=(1, 2, 3))[:, None]

    write_folder(tmp_path, "test", FACE[None])
    export_landmarks(Fixed(), tmp_path / "m.onnx", {})
    ran = cakd("eval", "landmarks", tmp_path / "m.onnx", tmp_path, "--json", tmp_path / "r.json")
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "r.json").read_text())["nme_eye_centres"] < 1e-5


def test_68_points_have_three_normalisers(tmp_path):
    write_folder(tmp_path, "test", shaken(face_68(), 3, seed=1), [str(index) for index in range(68)])
    torch.save(get_model("cnn_tiny", num_features=136).state_dict(), tmp_path / "w.pt")
    ran = cakd("eval", "landmarks", tmp_path / "w.pt", tmp_path, "--network", "cnn_tiny")
    assert ran.code == 0, ran.err
    for name in ("outer corners", "eye centres", "box"):
        assert len(re.findall(rf"\| +{name} \|", ran.out)) == 3
    assert "which makes the floor lower than it is" in ran.out, "there is no training set"


def test_a_network_of_other_points_is_refused(points, tmp_path):
    torch.save(get_model("cnn_tiny", num_features=136).state_dict(), tmp_path / "w.pt")
    line = error_line(cakd("eval", "landmarks", tmp_path / "w.pt", points, "--network", "cnn_tiny"))
    assert "5 points, the network answers (136,); expected 10 numbers" in line


def test_a_missing_set_names_what_is_there(points, weights):
    line = error_line(cakd("eval", "landmarks", weights, points, "--network", "cnn_tiny", "--subset", "val"))
    assert "found: test, train" in line
