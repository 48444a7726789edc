"""A landmark student as InsightFace's landmark model, alone and in a pack."""

import contextlib
import io
import json
import warnings

import cv2
import numpy as np
import onnx
import pytest
import torch
from insightface.app import FaceAnalysis

from insightface_cakd.errors import ExportError
from insightface_cakd.export.landmark_check import check_landmarks
from insightface_cakd.export.landmarks import LandmarkGraph, export_landmarks
from insightface_cakd.export.onnx import EXPORTERS
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import cakd, refused


def network(points=5, name="cnn_tiny"):
    torch.manual_seed(points)
    return get_model(name, num_features=2 * points).eval()


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("points", [5, 68])
def test_a_student_becomes_insightfaces_landmark_model(points, exporter, tmp_path):
    report = export_landmarks(network(points), tmp_path / "m.onnx", {"network": "cnn_tiny"}, exporter)
    assert report.points == points
    assert report.difference < 1e-4
    assert f"landmark_2d_{points}" in report.summary()
    model = onnx.load(tmp_path / "m.onnx")
    shapes = [
        [one.dim_value for one in end.type.tensor_type.shape.dim] for end in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [[1, 3, 192, 192], [1, 2 * points]]
    assert "192x192" in {entry.key: entry.value for entry in model.metadata_props}["input_contract"]


def test_a_file_of_another_network_does_not_pass(tmp_path):
    export_landmarks(network(5), tmp_path / "m.onnx", {})
    torch.manual_seed(99)
    other = LandmarkGraph(get_model("cnn_tiny", num_features=10).eval())
    with pytest.raises(ExportError, match="differs from torch by .*; expected at most 1e-04"):
        check_landmarks(tmp_path / "m.onnx", other)


def test_raw_pixels_without_the_names_would_be_normalised_twice(tmp_path):
    export_landmarks(network(5), tmp_path / "m.onnx", {})
    model = onnx.load(tmp_path / "m.onnx")
    for node in model.graph.node:
        node.name = f"x{node.name}"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=r"takes it for Landmark with mean and deviation 127\.5, 128\.0"):
        check_landmarks(tmp_path / "m.onnx", LandmarkGraph(network(5)))


def test_the_command_knows_a_run_of_the_task(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    torch.save(network(5).state_dict(), run / "model.pt")
    config = {"network": "cnn_tiny", "embedding_size": 10}
    (run / "run.json").write_text(json.dumps({"config": config, "recipe": {"task": {"kind": "landmarks"}}}))
    (run / "result.json").write_text("{}")
    ran = cakd("export", run, tmp_path / "m.onnx")
    assert ran.code == 0, ran.err
    assert "insightface.model_zoo loads it as Landmark, key landmark_2d_5" in ran.out
    ran = cakd("export", run / "model.pt", tmp_path / "w.onnx", "--network", "cnn_tiny", "--finds-landmarks")
    assert ran.code == 0, ran.err
    refused(["export", run, tmp_path / "n.onnx", "--precision", "fp16"], r".*are for recognisers", tmp_path)


@pytest.fixture
def pack(tmp_path, shared_data):
    """A pack of a landmark student beside real models, and what the command said."""
    models = shared_data / "models"
    export_landmarks(network(5), tmp_path / "m.onnx", {})
    ran = cakd(
        *("export-pack", "--student", models / "edgeface_xs.onnx", "--detector", models / "scrfd_500m.onnx"),
        *("--landmarks", tmp_path / "m.onnx", "--output", tmp_path / "pack", "--name", "mine"),
        *("--photos", shared_data / "photos"),
    )
    assert ran.code == 0, ran.err
    return tmp_path / "pack", ran.out


def test_a_pack_loads_in_an_unmodified_face_analysis(pack, shared_data):
    folder, said = pack
    assert "5 landmarks, on average" in said
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "detection.onnx",
        "recognition.onnx",
        "landmarks.onnx",
        "pack.json",
        "TERMS.txt",
    }
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = FaceAnalysis(name=str(folder), providers=["CPUExecutionProvider"])
        analysis.prepare(ctx_id=0)
        faces = analysis.get(cv2.imread(str(shared_data / "photos" / "photo_0.jpg")))
    assert faces
    for face in faces:
        assert face["landmark_2d_5"].shape == (5, 2)
        assert np.isfinite(face["landmark_2d_5"]).all()
        assert face.embedding is not None


def test_what_is_no_landmark_model_is_not_packed(tmp_path, shared_data):
    models = shared_data / "models"
    arguments = [
        *("export-pack", "--student", models / "edgeface_xs.onnx", "--detector", models / "scrfd_500m.onnx"),
        *("--output", tmp_path / "pack", "--name", "mine"),
    ]
    wrong = [*arguments, "--landmarks", models / "edgeface_xs.onnx"]
    refused(
        wrong, r"--landmarks edgeface_xs\.onnx: takes and gives .*; expected one input \[1, 3, 192, 192\]", tmp_path
    )
    refused([*arguments, "--landmarks", tmp_path / "no.onnx"], r"--landmarks .*no\.onnx: does not exist", tmp_path)
