"""Students in other runtimes: they embed as torch does, or nothing is left."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from insightface_cakd.errors import DataError, EvaluationError, ExportError
from insightface_cakd.export.onnx import export_onnx, plain_copy
from insightface_cakd.export.runtimes.make import RUNTIMES, export_runtime
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.weights import file_sha256
from tests.commands import cakd
from tests.export.networks import settle
from tests.networks.onnx_models import channel_means

EACH = pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)
FILES = {"ncnn": ["student.ncnn.bin", "student.ncnn.param"], "openvino": ["student.bin", "student.xml"]}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return settle(get_model("cnn_tiny", num_features=64))


@pytest.fixture(scope="module")
def student(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    export_onnx(network, path, {"teacher": "anna"})
    return path


def in_ncnn(folder, face):
    """Embed as ncnn's own documentation does."""
    import ncnn

    net = ncnn.Net()
    net.load_param(str(folder / "student.ncnn.param"))
    net.load_model(str(folder / "student.ncnn.bin"))
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(face).clone())
    return np.array(extractor.extract("out0")[1])


def in_openvino(folder, face):
    """Embed as OpenVINO's own documentation does."""
    import openvino

    return openvino.Core().compile_model(str(folder / "student.xml"), "CPU")({"data": face[None]})["embedding"][0]


@EACH
def test_the_folder_embeds_as_torch_does(network, student, face_set, tmp_path, runtime):
    report = export_runtime(student, runtime, tmp_path / "out", [face_set / "dev.bin"], rounds=3)
    folder = tmp_path / "out"
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [*FILES[runtime.name], "manifest.json", "README.md"]
    )
    face = np.random.default_rng(5).uniform(-1, 1, (3, 112, 112)).astype(np.float32)
    found = {"ncnn": in_ncnn, "openvino": in_openvino}[runtime.name](folder, face)
    with torch.no_grad():
        expected = plain_copy(network)(torch.from_numpy(face[None]))[0].numpy()
    assert found @ expected > 0.9999 * np.linalg.norm(found) * np.linalg.norm(expected)
    assert report.size == sum((folder / name).stat().st_size for name in FILES[runtime.name])
    assert report.cosine > 0.9999
    before, after = report.accuracies["dev"]
    assert after == pytest.approx(before, abs=0.03)
    assert report.summary().startswith(f"{folder}: ")
    assert f"for {runtime.name} " in report.summary()


@EACH
def test_the_manifest_says_what_the_files_are(student, tmp_path, runtime):
    export_runtime(student, runtime, tmp_path / "out", rounds=1)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["files"] == {name: file_sha256(tmp_path / "out" / name) for name in manifest["files"]}
    assert sorted(manifest["files"]) == FILES[runtime.name]
    assert manifest["onnx_sha256"] == file_sha256(student)
    assert manifest["provenance"] == {"teacher": "anna"}
    assert manifest["input_contract"].startswith("RGB, 112x112")


def refused(error, message, student, runtime, tmp_path, *bins):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=message) as caught:
        export_runtime(student, runtime, tmp_path / "new" / "out", bins, rounds=1)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_runtime_that_embeds_otherwise(student, tmp_path):
    def turned(folder, stem, threads):
        embed = RUNTIMES["ncnn"].load(folder, stem, threads)
        return lambda face: embed(face)[:, ::-1]

    wrong = replace(RUNTIMES["ncnn"], load=turned)
    refused(ExportError, r"ncnn student.onnx, the cosine with onnxruntime is .*Ship the ONNX", student, wrong, tmp_path)


@EACH
def test_a_runtime_that_lacks_an_operator(student, tmp_path, runtime):
    model = onnx.load(student)
    model.graph.node[-1].op_type = "NoSuchOperator"
    model.graph.node[-1].domain = "nowhere"
    model.opset_import.append(onnx.helper.make_opsetid("nowhere", 1))
    path = tmp_path / "odd.onnx"
    onnx.save(model, path)
    refused(ExportError, f"{runtime.name} odd.onnx: .*Ship the ONNX file", path, runtime, tmp_path)


def test_a_runtime_that_is_not_installed(student, tmp_path):
    missing = replace(RUNTIMES["ncnn"], packages=("ncnn", "no_such_package"))
    message = (
        r"no_such_package not installed; expected ncnn and no_such_package. pip install 'insightface-cakd\[ncnn\]'"
    )
    refused(ExportError, message, student, missing, tmp_path)


def test_a_file_that_is_no_student(tmp_path):
    path = tmp_path / "other.onnx"
    channel_means(path, outputs=2)
    refused(ExportError, "ncnn other.onnx: 1 inputs and 2 outputs", path, RUNTIMES["ncnn"], tmp_path)


def test_a_file_that_is_not_there(tmp_path):
    refused(ExportError, "none.onnx: does not exist", tmp_path / "none.onnx", RUNTIMES["ncnn"], tmp_path)


def test_a_run_s_folder_in_place_of_a_file(tmp_path):
    refused(ExportError, "is a folder; expected an .onnx file", tmp_path, RUNTIMES["ncnn"], tmp_path)


def test_two_sets_of_one_name(student, face_set, tmp_path):
    (tmp_path / "dev.bin").write_bytes((face_set / "dev.bin").read_bytes())
    sets = (face_set / "dev.bin", tmp_path / "dev.bin")
    refused(EvaluationError, "dev.bin: another set", student, RUNTIMES["ncnn"], tmp_path, *sets)


def test_a_verification_set_that_is_not_there(student, tmp_path):
    refused(DataError, "none.bin", student, RUNTIMES["ncnn"], tmp_path, tmp_path / "none.bin")


def test_a_folder_that_holds_something(student, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ExportError, match="exists already"):
        export_runtime(student, RUNTIMES["ncnn"], tmp_path, rounds=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_working_folder_is_no_place(student, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match=r"^\.: cannot be written \(it has no name of its own\)"):
        export_runtime(student, RUNTIMES["ncnn"], Path("."), rounds=1)


def test_the_command(student, tmp_path):
    ran = cakd("export-runtime", "ncnn", student, tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "cosine with onnxruntime >= 1.0000" in ran.out
    assert "'insightface-cakd[ncnn]'" in " ".join(cakd("export-runtime", "--help").out.split())
    assert (tmp_path / "out" / "student.ncnn.param").read_text().startswith("7767517")


def test_edgeface_is_refused_for_ncnn(shared_data, tmp_path):
    """Its layer norms and attention come out wrong there; only the comparison tells."""
    path = shared_data / "models" / "edgeface_xs.onnx"
    refused(ExportError, "the cosine with onnxruntime is 0", path, RUNTIMES["ncnn"], tmp_path)
