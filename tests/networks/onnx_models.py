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
) -> Path:
    """Write a recogniser whose embedding is the means of the three channels; `first` names its first two nodes."""
    nodes = [
        helper.make_node("Identity", ["input"], ["same"], name=f"Sub_{first}"),
        helper.make_node("Identity", ["same"], ["again"], name=f"Mul_{first}" if first == "normalise" else "again"),
        helper.make_node("ReduceMean", ["again"], ["embedding"], name="mean", axes=[2, 3], keepdims=0),
    ]
    nodes += [helper.make_node("Identity", ["embedding"], [f"more{i}"]) for i in range(1, outputs)]
    names = ["embedding", *(f"more{i}" for i in range(1, outputs))]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("input", kind, [batch, 3, side, side])],
        [helper.make_tensor_value_info(name, kind, [declared, 3]) for name in names],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def batch_of_one_inside(path: Path) -> Path:
    """Write a recogniser that declares a free batch, but reshapes to a batch of 1 within."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 3 * 112 * 112])
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["input", "shape"], ["embedding"])],
        "one",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3 * 112 * 112])],
        [shape],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
