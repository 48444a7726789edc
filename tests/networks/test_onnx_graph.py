"""Rewrites of a graph: what is folded, what must stay, and that not one number changes."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

from insightface_cakd.export.onnx import EXPORTERS, export_onnx
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.onnx_graph import (
    all_tensors,
    count_nodes,
    fold_batch_norms,
    image_inputs,
    slopes_by_channel,
    sort_nodes,
    spread_prelu,
)
from tests.export.networks import settle, trained

FACES = np.random.default_rng(0).uniform(-1, 1, (2, 3, 112, 112)).astype(np.float32)


def run(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: FACES})[0]


def exported(network, path, exporter="legacy"):
    export_onnx(network, path, {}, exporter)
    return onnx.load(path)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_no_batch_norm_is_left_behind_a_convolution_or_a_linear_layer(tmp_path, exporter):
    counts = count_nodes(exported(trained(), tmp_path / "student.onnx", exporter))
    assert (counts["Conv"], counts["Gemm"], counts["BatchNormalization"]) == (1, 1, 0)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    ("name", "left"), [("cnn_tiny", 0), ("mbf", 0), pytest.param("r18", 9, marks=pytest.mark.slow)]
)
def test_batch_norms_of_the_host_s_networks(tmp_path, name, left, exporter):
    """Iresnet has one before the padded convolution of each of its 8 blocks, and one behind the last sum: these stay."""
    torch.manual_seed(0)
    network = settle(get_model(name, num_features=64))
    assert count_nodes(exported(network, tmp_path / "student.onnx", exporter))["BatchNormalization"] == left


def batch_norm_after(kind, weight, bias=None, rank=2, **attributes):
    """Return a layer and its batch norm on the means of the channels."""
    rng = np.random.default_rng(1)
    values = {"w": weight, "s": rng.uniform(0.5, 2, 4), "b": rng.normal(size=4), "m": rng.normal(size=4)}
    values["v"] = rng.uniform(0.5, 2, 4)
    if bias is not None:
        values["c"] = bias
    axes = [2, 3] if rank == 2 else [3]
    nodes = [
        helper.make_node("ReduceMean", ["data"], ["means"], axes=axes, keepdims=0),
        helper.make_node(kind, ["means", "w", *(["c"] if bias is not None else [])], ["wide"], "layer", **attributes),
        helper.make_node("BatchNormalization", ["wide", *"sbmv"], ["embedding"], "norm"),
    ]
    shape = ["batch", 4] if rank == 2 else ["batch", 3, 4]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("data", 1, ["batch", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", 1, shape)],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize(
    ("kind", "shape", "bias", "attributes"),
    [("MatMul", (3, 4), None, {}), ("Gemm", (3, 4), np.ones(4), {}), ("Gemm", (4, 3), np.ones(4), {"transB": 1})],
)
def test_a_linear_layer_takes_its_batch_norm(kind, shape, bias, attributes):
    model = batch_norm_after(kind, np.random.default_rng(2).normal(size=shape), bias, **attributes)
    before = run(model)
    assert fold_batch_norms(model) == 1
    onnx.checker.check_model(model)
    assert count_nodes(model) == {"ReduceMean": 1, "Gemm": 1}
    assert [one.name for one in model.graph.initializer] == ["norm_weight", "norm_bias"]
    np.testing.assert_allclose(run(model), before, atol=1e-6)


def test_a_scaled_gemm_keeps_its_batch_norm():
    assert fold_batch_norms(batch_norm_after("Gemm", np.ones((3, 4)), np.ones(4), alpha=0.5)) == 0


def test_a_layer_that_others_read_too_keeps_its_batch_norm():
    model = batch_norm_after("Gemm", np.ones((3, 4)), np.ones(4))
    model.graph.output.append(helper.make_tensor_value_info("wide", 1, ["batch", 4]))
    assert fold_batch_norms(model) == 0


def test_prelu_as_product_and_maximum_gives_the_same_bits(tmp_path):
    model = exported(trained(), tmp_path / "student.onnx")
    before = run(model)
    assert spread_prelu(model) == 1
    onnx.checker.check_model(model)
    assert (count_nodes(model)["PRelu"], count_nodes(model)["Max"], count_nodes(model)["Mul"]) == (0, 1, 1)
    assert not any(node.name.startswith(("Mul", "_mul", "Sub", "_minus")) for node in model.graph.node)
    np.testing.assert_array_equal(run(model), before)


@pytest.mark.parametrize(("slope", "spread"), [(-0.5, 1), (1.0, 1), (1.5, 0)])
def test_prelu_of_other_slopes(tmp_path, slope, spread):
    network = trained()
    torch.nn.init.constant_(network.prelu.weight, slope)
    model = exported(network, tmp_path / "student.onnx")
    before = run(model)
    assert spread_prelu(model) == spread
    np.testing.assert_array_equal(run(model), before)


def test_nodes_are_put_behind_what_they_read(tmp_path):
    model = exported(trained(), tmp_path / "student.onnx")
    right = [node.name for node in model.graph.node]
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    sort_nodes(model)
    assert [node.name for node in model.graph.node] == right


def old_export(slope, weights_as_inputs):
    """A graph as mxnet's old exporter wrote it: 8 channels of 28 x 28, then a PReLU, and one number for each image."""
    random = np.random.default_rng(0)
    weights = {
        "fc": random.normal(0, 0.1, (4, 6272)),
        "b": np.zeros(4),
        "w": random.normal(0, 0.1, (8, 3, 4, 4)),
        "slope": slope,
    }
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["c"], "conv0", kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("PRelu", ["c", "slope"], ["p"], "relu0"),
        helper.make_node("Flatten", ["p"], ["f"], "flat0"),
        helper.make_node("Gemm", ["f", "fc", "b"], ["out"], "fc1", transB=1),
    ]
    image = helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, ["n", 3, 112, 112])
    listed = [helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in initializers]
    out = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(nodes, "g", [*listed, image] if weights_as_inputs else [image], [out], initializers)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=3 if weights_as_inputs else 8
    )


SLOPE = np.linspace(0.1, 0.5, 8)


def test_weights_listed_as_inputs_are_no_images():
    model = old_export(SLOPE[:, None, None], True)
    expected = run(old_export(SLOPE[:, None, None], False))
    assert [one.name for one in image_inputs(model)] == ["data"]
    assert spread_prelu(model) == 1
    assert np.array_equal(run(model), expected)


def test_a_slope_for_each_channel_gets_their_axis():
    expected = run(old_export(SLOPE[:, None, None], False))
    for listed in (False, True):
        model = old_export(SLOPE, listed)
        assert slopes_by_channel(model) == 1
        assert np.array_equal(run(model), expected)
    assert slopes_by_channel(old_export(np.full(28, 0.2), False)) == 0, "it fits the last axis"
    assert slopes_by_channel(old_export(np.array([0.2]), False)) == 0
    assert slopes_by_channel(old_export(SLOPE[:, None, None], False)) == 0


def test_constants_of_branches_are_found():
    inner = numpy_helper.from_array(np.zeros(1, np.float32), "inner")
    branch = helper.make_graph([helper.make_node("Constant", [], ["x"], value=inner)], "b", [], [])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([node], "g", [], [], [numpy_helper.from_array(np.ones(1), "outer")])
    assert [one.name for one in all_tensors(helper.make_model(graph))] == ["outer", "inner", "inner"]
