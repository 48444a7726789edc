"""Files of half and of a quarter of the size: what they hold, what they keep, how near they are."""

from unittest.mock import ANY

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from insightface_cakd.errors import ExportError
from insightface_cakd.export.onnx import EXPORTERS, export_onnx
from insightface_cakd.export.precision import halve, quantise
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.onnx_graph import count_nodes
from tests.export.networks import settle
from tests.networks.onnx_models import channel_means

FACES = np.random.default_rng(0).uniform(-1, 1, (40, 3, 112, 112)).astype(np.float32)


@pytest.fixture(scope="module", params=EXPORTERS)
def student(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("fp32") / "student.onnx"
    torch.manual_seed(0)
    export_onnx(settle(get_model("cnn_tiny", num_features=64)), path, {"teacher": "anna"}, request.param)
    return path


def embed(path, faces=FACES):
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: faces})[0]


def cosines(found, expected):
    return (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)


def ends(model):
    return [one.type.tensor_type.elem_type for one in (*model.graph.input, *model.graph.output)]


def test_float16_halves_the_weights_and_keeps_input_output_and_metadata(student, tmp_path):
    halve(student, tmp_path / "half.onnx")
    model = onnx.load(tmp_path / "half.onnx")
    kinds = {one.data_type: list(one.dims[1:]) for one in model.graph.initializer if len(one.dims) > 1}
    assert kinds == {TensorProto.FLOAT16: ANY, TensorProto.FLOAT: [1, 7, 7]}, "all but the pooling convolution"
    assert ends(model) == [TensorProto.FLOAT] * 2
    assert (tmp_path / "half.onnx").stat().st_size < 0.6 * student.stat().st_size
    assert {one.key: one.value for one in model.metadata_props} == {"teacher": "anna", "precision": "fp16"}
    assert cosines(embed(tmp_path / "half.onnx"), embed(student)).min() > 0.99999


def test_int8_quarters_the_weights_and_keeps_input_output_and_metadata(student, tmp_path):
    quantise(student, tmp_path / "int8.onnx", FACES)
    model = onnx.load(tmp_path / "int8.onnx")
    counts = count_nodes(model)
    assert ends(model) == [TensorProto.FLOAT] * 2
    assert (tmp_path / "int8.onnx").stat().st_size < 0.4 * student.stat().st_size
    assert {one.key: one.value for one in model.metadata_props} == {"teacher": "anna", "precision": "int8"}
    assert (counts["PRelu"], counts["BatchNormalization"]) == (0, 0)
    assert cosines(embed(tmp_path / "int8.onnx"), embed(student)).mean() > 0.98
    assert embed(tmp_path / "int8.onnx", FACES[:1]).shape == (1, 64)


def test_the_first_convolution_and_the_embedding_stay_in_float32(student, tmp_path):
    quantise(student, tmp_path / "int8.onnx", FACES)
    model = onnx.load(tmp_path / "int8.onnx")
    readers = [node.op_type for node in model.graph.node if model.graph.input[0].name in node.input]
    makers = [node.op_type for node in model.graph.node if model.graph.output[0].name in node.output]
    assert (readers, makers) == (["Conv"], ["Gemm"])


def test_the_same_faces_give_the_same_file(student, tmp_path):
    for name in ("one", "two"):
        quantise(student, tmp_path / f"{name}.onnx", FACES)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_convolutions_in_groups_of_several_channels_and_those_that_pool_the_map_stay_in_float32(tmp_path):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=4),
        torch.nn.Conv2d(8, 8, 3, stride=4, groups=4),
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=8),
        torch.nn.Conv2d(8, 8, 7, groups=8),
        torch.nn.Flatten(),
    )
    export_onnx(network, tmp_path / "student.onnx", {})
    quantise(tmp_path / "student.onnx", tmp_path / "int8.onnx", FACES)
    model = onnx.load(tmp_path / "int8.onnx")
    quantised = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    weights = [node.input[1] in quantised for node in model.graph.node if node.op_type == "Conv"]
    assert weights == [False, False, True, False]


def test_a_file_of_an_old_opset(tmp_path):
    model = onnx.load(channel_means(tmp_path / "old.onnx"))
    model.opset_import[0].version = 11
    onnx.save(model, tmp_path / "old.onnx")
    with pytest.raises(ExportError, match="export old.onnx: opset 11; int8 needs 13 or newer. Export the student anew"):
        quantise(tmp_path / "old.onnx", tmp_path / "int8.onnx", FACES)
    assert not (tmp_path / "int8.onnx").exists()


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"export bad.onnx: cannot be made float16 \(") as caught:
        halve(tmp_path / "bad.onnx", tmp_path / "half.onnx")
    assert "\n" not in str(caught.value)
