"""Small ONNX recognisers, built node by node."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper


def channel_means(
    path: Path,
    batch: int | str = "batch",
    side: int | str = 112,
    kind: int = TensorProto.FLOAT,
    outputs: int = 1,
    declared: int | str = "batch",
    first: str = "pool",
    channels: int = 3,
    channels_last: bool = False,
) -> Path:
    """Write a recogniser whose embedding is the means of the channels; `first` names its first two nodes."""
    places = [1, 2] if channels_last else [2, 3]
    # A mean of bytes would be cut to a whole number, and one of float16 lose digits.
    nodes = [
        helper.make_node("Cast", ["input"], ["same"], name=f"Sub_{first}", to=TensorProto.FLOAT),
        helper.make_node("Identity", ["same"], ["again"], name=f"Mul_{first}" if first == "normalise" else "again"),
        helper.make_node("ReduceMean", ["again"], ["embedding"], name="mean", axes=places, keepdims=0),
    ]
    nodes += [helper.make_node("Identity", ["embedding"], [f"more{i}"]) for i in range(1, outputs)]
    names = ["embedding", *(f"more{i}" for i in range(1, outputs))]
    shape = [batch, side, side, channels] if channels_last else [batch, channels, side, side]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [declared, channels]) for name in names],
    )
    return _saved(graph, path)


def batch_inside(path: Path, batch: int) -> Path:
    """Write a recogniser that declares a free batch, but reshapes to a fixed one within."""
    values = 3 * 112 * 112 // batch if batch in (1, 4) else 3 * 112 * 112
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [batch, values])
    nodes = [helper.make_node("Reshape", ["input", "shape"], ["embedding"])]
    return _saved(_free(nodes, "fixed", values, [shape]), path)


def mean_of_the_batch_added(path: Path) -> Path:
    """Write a recogniser that adds the mean of the batch to each image's channel means, times ten."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["means"], ["all"], axes=[0], keepdims=1),
        helper.make_node("Mul", ["all", "ten"], ["much"]),
        helper.make_node("Add", ["means", "much"], ["embedding"]),
    ]
    return _saved(_free(nodes, "mixed", 3, [helper.make_tensor("ten", TensorProto.FLOAT, [1], [10.0])]), path)


def _free(nodes: list[onnx.NodeProto], name: str, width: int, weights: list[onnx.TensorProto]) -> onnx.GraphProto:
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 112, 112])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", width])
    return helper.make_graph(nodes, name, [image], [embedding], weights)


def _saved(graph: onnx.GraphProto, path: Path) -> Path:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
