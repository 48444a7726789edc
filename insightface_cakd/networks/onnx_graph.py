"""Rewrites of an ONNX graph that do not change its output."""

from collections import Counter

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    shape_inference,
)
from onnx.external_data_helper import uses_external_data

# Operators, with the axis of their weight that runs over output channels; for a Gemm it depends on transB.
FOLDS = {"Conv": 0, "Gemm": None, "MatMul": 1}
BATCH_NORM = "BatchNormalization"
_EPSILON = 1e-5
_BROADCASTS = 8  # The first opset whose Mul and Max broadcast like PRelu.


class _Graph:
    """The nodes of a graph, with what a rewrite needs to know."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        graph = model.graph
        self.values = {one.name: numpy_helper.to_array(one) for one in graph.initializer if not uses_external_data(one)}
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses.update(one.name for one in graph.output)
        self.makers = {name: node for node in graph.node for name in node.output}
        for node in graph.node:
            for one in node.attribute:
                if node.op_type == "Constant" and one.name == "value":
                    self.values[node.output[0]] = numpy_helper.to_array(one.t)
            # The legacy exporter shares equal weights through Identity nodes.
            if node.op_type == "Identity" and node.input[0] in self.values:
                self.values[node.output[0]] = self.values[node.input[0]]

    def shapes(self) -> dict[str, list[int | None]]:
        """Return the shape of each value where it is known."""
        values = shape_inference.infer_shapes(self.model).graph.value_info
        return {
            one.name: [
                side.dim_value if side.HasField("dim_value") else None for side in one.type.tensor_type.shape.dim
            ]
            for one in values
        }

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a weight and return its name."""
        self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def replace(self, nodes: list[NodeProto]) -> None:
        """Replace all nodes by others, and drop weights no longer read."""
        graph = self.model.graph
        nodes = _read(nodes, {one.name for one in graph.output})
        # Old exporters list weights as inputs too, where a dropped weight would become an input that must be given.
        images = image_inputs(self.model)
        del graph.input[:]
        graph.input.extend(images)
        del graph.node[:]
        graph.node.extend(nodes)
        needed = {name for node in nodes for name in node.input}
        kept = [one for one in graph.initializer if one.name in needed]
        del graph.initializer[:]
        graph.initializer.extend(kept)


def fold_batch_norms(model: ModelProto) -> int:
    """Fold each batch norm into the layer before it, in place.

    That layer is a convolution or a linear layer. A batch norm before a padded convolution, as in iresnet's blocks,
    stays: the padding is zero before the batch norm, not after it. The model is float32 and in eval mode. Returns the
    number of batch norms folded.
    """
    graph = _Graph(model)
    folded: dict[int, list[NodeProto]] = {}
    for norm in model.graph.node:
        maker = graph.makers.get(norm.input[0]) if norm.op_type == BATCH_NORM else None
        if maker is not None and _foldable(graph, maker, norm):
            folded[id(maker)] = []
            folded[id(norm)] = [_folded(graph, maker, norm)]
    if folded:
        graph.replace([one for node in model.graph.node for one in folded.get(id(node), [node])])
    return len(folded) // 2


def spread_prelu(model: ModelProto) -> int:
    """Rewrite each PReLU as max(x, slope * x), in place.

    The output is the same bit by bit, and these operators are vectorised on onnxruntime's CPU provider. Its own PReLU
    kernel takes about as long as all convolutions of a MobileFaceNet. A node with a slope above 1 (where PReLU is a
    minimum) is left as it is, and so is every node of an opset whose Max does not broadcast. The model is float32.
    Returns the number of nodes rewritten.
    """
    if opset_of(model) < _BROADCASTS:
        return 0
    graph = _Graph(model)
    nodes, count = [], 0
    for node in model.graph.node:
        slope = graph.values.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is None or slope.max() > 1:
            nodes.append(node)
            continue
        name = node.name or f"prelu_{count}"
        # Not `Mul...`: InsightFace takes such names for a normalisation.
        negative = f"{name}_negative"
        slope_name = graph.constant(f"{name}_slope", slope)
        nodes.append(helper.make_node("Mul", [node.input[0], slope_name], [negative], negative))
        nodes.append(helper.make_node("Max", [node.input[0], negative], node.output, name))
        count += 1
    if count:
        graph.replace(nodes)
    return count


def slopes_by_channel(model: ModelProto) -> int:
    """Give PReLU slopes of shape (C,) the channels' axis, in place.

    They become (C, 1, 1). Old exporters of mxnet write them flat, and onnxruntime refuses the graph: it compares them with the last
    dimension. A slope that fits there stays, and so does one whose input is not known to have C channels. Returns the number of nodes
    changed.
    """
    graph = _Graph(model)
    flat = {
        id(node): graph.values[node.input[1]]
        for node in model.graph.node
        if node.op_type == "PRelu" and node.input[1] in graph.values and graph.values[node.input[1]].ndim == 1
    }
    # Shapes are inferred only where they decide something: that takes a copy of the model.
    shapes = graph.shapes() if flat else {}
    nodes, count = [], 0
    for node in model.graph.node:
        shape, slope = shapes.get(node.input[0], []) if id(node) in flat else [], flat.get(id(node))
        if slope is not None and len(shape) == 4 and shape[1] == len(slope) and shape[3] not in (len(slope), None):
            slope_name = graph.constant(f"{node.input[1]}_by_channel_{count}", slope[:, None, None])
            node = helper.make_node("PRelu", [node.input[0], slope_name], node.output, node.name)
            count += 1
        nodes.append(node)
    if count:
        graph.replace(nodes)
    return count


def image_inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Return the inputs that must be given: those that are no weights."""
    weights = {one.name for one in model.graph.initializer}
    return [one for one in model.graph.input if one.name not in weights]


def all_tensors(model: ModelProto) -> list[TensorProto]:
    """Return the weights and constants of a graph, of its branches too."""
    return _tensors(model.graph)


def _tensors(graph: GraphProto) -> list[TensorProto]:
    found = list(graph.initializer)
    for node in graph.node:
        for one in node.attribute:
            found += [one.t] * one.HasField("t") + list(one.tensors)
            for branch in [one.g] * one.HasField("g") + list(one.graphs):
                found += _tensors(branch)
    return found


def opset_of(model: ModelProto) -> int:
    """Return the version of a model's operator set, 0 if not stated."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def count_nodes(model: ModelProto) -> Counter[str]:
    """Return the number of nodes of each operator."""
    return Counter(node.op_type for node in model.graph.node)


def _foldable(graph: _Graph, maker: NodeProto, norm: NodeProto) -> bool:
    known = [name in graph.values for name in (*maker.input[1:], *norm.input[1:])]
    scales = [helper.get_attribute_value(one) for one in maker.attribute if one.name in ("alpha", "beta")]
    if maker.op_type not in FOLDS or not all(known) or graph.uses[norm.input[0]] != 1 or any(s != 1 for s in scales):
        return False
    # A product with more dimensions has its channels last, but a batch norm expects them second.
    return maker.op_type != "MatMul" or len(graph.shapes().get(norm.input[0], [])) == 2


def _folded(graph: _Graph, maker: NodeProto, norm: NodeProto) -> NodeProto:
    """Return a layer with the batch norm in its weight and bias."""
    scale, shift, mean, variance = (graph.values[name].astype(np.float64) for name in norm.input[1:5])
    epsilon = next((one.f for one in norm.attribute if one.name == "epsilon"), _EPSILON)
    factor = scale / np.sqrt(variance + epsilon)
    weight = graph.values[maker.input[1]]
    axis = FOLDS[maker.op_type]
    if axis is None:
        axis = 0 if any(one.name == "transB" and one.i for one in maker.attribute) else 1
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    bias = graph.values[maker.input[2]] if len(maker.input) > 2 else np.zeros(len(factor))
    name = norm.name or norm.output[0]
    new_weight = graph.constant(f"{name}_weight", (weight * factor.reshape(shape)).astype(np.float32))
    new_bias = graph.constant(f"{name}_bias", ((bias - mean) * factor + shift).astype(np.float32))
    kind = "Gemm" if maker.op_type == "MatMul" else maker.op_type
    node = helper.make_node(kind, [maker.input[0], new_weight, new_bias], [norm.output[0]], maker.name)
    node.attribute.extend(maker.attribute)
    return node


def _read(nodes: list[NodeProto], outputs: set[str]) -> list[NodeProto]:
    """Drop nodes whose results are never read."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed & set(node.output):
            needed.update(node.input)
            kept.append(node)
    return kept[::-1]


def sort_nodes(model: ModelProto) -> None:
    """Put each node after those whose results it reads, in place.

    ONNX demands this order; otherwise the order is kept.
    """
    graph = model.graph
    made = {name for node in graph.node for name in node.output}
    waiting, nodes, ready = list(graph.node), [], set[str]()
    while waiting:
        later = []
        for node in waiting:
            if {name for name in node.input if name in made} <= ready:
                nodes.append(node)
                ready.update(node.output)
            else:
                later.append(node)
        waiting = later
    del graph.node[:]
    graph.node.extend(nodes)
