"""Export in another precision: what is measured, what is written, and what is refused."""

import cv2
import numpy as np
import onnx
import pytest
import torch

from insightface_cakd.data.bins import load_bin, write_bin
from insightface_cakd.errors import DataError, EvaluationError, ExportError
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.export.calibration import as_input, calibration_faces
from insightface_cakd.export.onnx import export_onnx
from insightface_cakd.export.variant import Wish, export_variant, table
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.onnx import OnnxNetwork
from tests.export.networks import settle
from tests.networks.onnx_models import batch_inside, channel_means


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    path = tmp_path_factory.mktemp("fp32") / "student.onnx"
    torch.manual_seed(0)
    export_onnx(settle(get_model("cnn_tiny", num_features=64)), path, {"teacher": "anna"})
    return path


def make(source, out, precision="fp32", **more):
    return export_variant(source, out, get_model, None, Wish(precision, rounds=3, **more))


def test_int8_is_written_and_measured_beside_float32(student, face_set, tmp_path):
    bins = [face_set / "dev.bin"]
    report, variants = make(student, tmp_path / "int8.onnx", "int8", calibrate=face_set, bins=bins)
    assert [one.name for one in variants] == ["fp32", "fp32, fast PReLU", "int8"]
    assert [one.size for one in variants[::2]] == [student.stat().st_size, (tmp_path / "int8.onnx").stat().st_size]
    assert variants[1].cosine == pytest.approx(1)
    assert 0.9 < variants[2].cosine < 1
    assert variants[0].latency.speed_up == 1
    network = OnnxNetwork(tmp_path / "int8.onnx", torch.device("cpu"), 112, "int8")
    assert variants[2].accuracies == (verify(network, load_bin(bins[0])).accuracy,)
    assert report.summary().startswith(f"{tmp_path / 'int8.onnx'}: ")
    assert "compared with float32 at batch 1, 2, 32" in report.summary()
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"]
    lines = table(variants, bins, 1).splitlines()
    assert lines[0].split() == ["MB", "batch", "norms", "cosine", "dev", "ms", "(1", "thread)", "faster"]
    assert [line.split("  ")[0] for line in lines[1:]] == ["fp32", "fp32, fast PReLU", "int8"]
    assert "(+0.00)" in lines[2]


def test_float16_needs_no_faces(student, tmp_path):
    report, variants = make(student, tmp_path / "half.onnx", "fp16")
    assert [one.name for one in variants] == ["fp32", "fp16"]
    assert min(report.cosine.values()) > 0.999
    said = {one.key: one.value for one in onnx.load(tmp_path / "half.onnx").metadata_props}
    assert said == {"teacher": "anna", "precision": "fp16"}


def test_fast_prelu_is_written_in_float32_too(student, tmp_path):
    _, variants = make(student, tmp_path / "fast.onnx", fast_prelu=True)
    kinds = {node.op_type for node in onnx.load(tmp_path / "fast.onnx").graph.node}
    assert [one.name for one in variants] == ["fp32", "fp32, fast PReLU"]
    assert "Max" in kinds
    assert "PRelu" not in kinds


def test_calibration_faces_are_spread_over_all_there_are(face_set):
    images = load_bin(face_set / "dev.bin").images
    chosen = calibration_faces(face_set / "dev.bin", 20)
    np.testing.assert_array_equal(chosen, images[np.linspace(0, len(images) - 1, 20).round().astype(int)])
    assert calibration_faces(face_set, 17).shape == (17, 112, 112, 3)
    assert calibration_faces(face_set, 1000).shape == (48, 112, 112, 3)
    entry = as_input(chosen)
    assert (entry.shape, entry.dtype, entry.min() >= -1, entry.max() <= 1) == (
        (20, 3, 112, 112),
        np.float32,
        True,
        True,
    )


def refused(error, message, source, tmp_path, *more, **wishes):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=message) as caught:
        make(source, tmp_path / "new" / "out.onnx", *more, **wishes)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_int8_without_faces(student, tmp_path):
    refused(ExportError, "--precision int8 needs faces .* expected --calibrate", student, tmp_path, "int8")


def test_too_few_faces(student, four_faces, tmp_path):
    refused(
        ExportError, "--calibrate .*: 4 faces; expected at least 16", student, tmp_path, "int8", calibrate=four_faces
    )


def test_faces_that_are_none(student, tmp_path):
    (tmp_path / "faces").mkdir()
    refused(DataError, "no subfolder holds images", student, tmp_path, "int8", calibrate=tmp_path / "faces")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": 2}, "export means.onnx: 1 inputs and 2 outputs"),
        ({"batch": 1}, r"export means.onnx: takes \[1, 3, 112, 112\]; expected \['batch'"),
        ({"side": 128}, r"export means.onnx: takes \['batch', 3, 128, 128\]"),
    ],
)
def test_a_source_that_breaks_the_contract(changes, message, tmp_path):
    refused(ExportError, message, channel_means(tmp_path / "means.onnx", **changes), tmp_path, "fp16")


def test_a_source_that_is_cut_off_or_missing(student, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(student.read_bytes()[:5000])
    refused(ExportError, "export cut.onnx: is no ONNX model", tmp_path / "cut.onnx", tmp_path, "fp16")
    refused(ExportError, "none.onnx: does not exist", tmp_path / "none.onnx", tmp_path, "fp16")


def test_a_batch_baked_into_the_source(tmp_path):
    refused(ExportError, "out.onnx: .*batch 2", batch_inside(tmp_path / "one.onnx", 1), tmp_path)


@pytest.mark.slow
def test_int8_of_a_real_recogniser_loses_less_than_half_a_point(shared_data, tmp_path):
    source, bins = shared_data / "models" / "edgeface_xs.onnx", [shared_data / "lfw_dev.bin"]
    wishes = {"calibrate": shared_data / "lfw_train", "bins": bins}
    _, (full, small) = export_variant(source, tmp_path / "int8.onnx", get_model, None, Wish("int8", **wishes))
    assert full.accuracies[0] == pytest.approx(0.9933, abs=0.0001)
    assert small.accuracies[0] >= full.accuracies[0] - 0.005
    # Signed weights saturate on processors without VNNI: 0.75 there, 0.91 with unsigned ones.
    assert small.cosine > 0.85
    assert small.size < 0.35 * full.size


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_source_that_is_converted_already(student, face_set, tmp_path, precision):
    make(student, tmp_path / "once.onnx", precision, calibrate=face_set / "dev.bin")
    for again in ("fp32", precision):
        message = rf"once.onnx: is {precision} already; expected a float32 .onnx"
        refused(ExportError, message, tmp_path / "once.onnx", tmp_path, again, calibrate=face_set / "dev.bin")


def test_options_that_an_onnx_leaves_nothing_to_do(student, tmp_path):
    refused(
        ExportError, "--exporter dynamo with an .onnx, which is exported already", student, tmp_path, exporter="dynamo"
    )
    with pytest.raises(ExportError, match="--network r50 with an .onnx"):
        export_variant(student, tmp_path / "out.onnx", get_model, "r50", Wish())


def test_a_name_that_insightface_takes_for_a_pack(student, tmp_path):
    with pytest.raises(ExportError, match=r"out.txt: expected a name that ends in .onnx"):
        make(student, tmp_path / "out.txt")


def test_sets_of_one_name_and_sets_that_cannot_be_judged(student, face_set, tmp_path):
    (tmp_path / "dev.bin").write_bytes((face_set / "dev.bin").read_bytes())
    refused(
        EvaluationError, "dev.bin: another set", student, tmp_path, bins=[face_set / "dev.bin", tmp_path / "dev.bin"]
    )
    write_bin(
        tmp_path / "same.bin", [cv2.imencode(".png", np.zeros((112, 112, 3), np.uint8))[1].tobytes()] * 40, [True] * 20
    )
    refused(EvaluationError, "same.bin: 20 same and 0 different", student, tmp_path, bins=[tmp_path / "same.bin"])
