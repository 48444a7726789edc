"""Conversion of a float32 ONNX file to float16 or int8."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from insightface_cakd.errors import ExportError, in_one_line
from insightface_cakd.networks.onnx_graph import fold_batch_norms, opset_of, sort_nodes, spread_prelu

Precision = Literal["fp32", "fp16", "int8"]

_OLDEST_OPSET = 13  # The first with one scale per channel for quantised weights.
BATCH = 16


def precision_of(model: onnx.ModelProto) -> Precision:
    """Return the precision in which a network computes."""
    if any(node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv") for node in model.graph.node):
        return "int8"
    halves = any(weight.data_type == onnx.TensorProto.FLOAT16 for weight in model.graph.initializer)
    return "fp16" if halves else "fp32"


def halve(source: Path, out: Path) -> None:
    """Write a file with float16 weights and arithmetic.

    Its input and output stay float32, and so does the depthwise convolution that pools the whole map, see `quantise`.
    """
    with _converting(source, "float16"):
        model = onnx.load(str(source))
        halved = convert_float_to_float16(model, keep_io_types=True, node_block_list=list(_pooling(model)))
        onnx.save(_finished(halved, model, "fp16"), str(out))


def quantise(source: Path, out: Path, images: np.ndarray) -> None:
    """Write a file with 8-bit weights and activations.

    The format is QDQ: QuantizeLinear and DequantizeLinear nodes around float operators. Convolutions and products with
    weights are quantised, weights with one scale per channel; the range of an activation is from its lowest to its
    highest value on the calibration images. These stay float32:

    - the first convolution, since the 256 values of a pixel lie exactly between the steps of an int8 input;
    - products of two activations;
    - the embedding;
    - convolutions with groups of several channels, which are ten times slower in onnxruntime's int8 kernels than in
      its float32 kernels;
    - the depthwise convolution that pools the whole map, which MobileFaceNet has: its large terms cancel each other, so
      that rounding it alone causes most of the accuracy loss of int8.

    PReLU is rewritten to run fast, see `spread_prelu`. The images are float32 (N, 3, 112, 112), RGB in [-1, 1].
    """
    with _converting(source, "int8"), tempfile.TemporaryDirectory(prefix="cakd-int8-") as folder:
        model = onnx.load(str(source))
        if opset_of(model) < _OLDEST_OPSET:
            raise ExportError(
                f"export {source.name}: opset {opset_of(model)}; int8 needs {_OLDEST_OPSET} or newer. Export the student anew."
            )
        fold_batch_norms(model)
        spread_prelu(model)
        plain, prepared = Path(folder, "plain.onnx"), Path(folder, "prepared.onnx")
        onnx.save(model, str(plain))
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(str(prepared))
        quantize_static(
            str(prepared),
            str(Path(folder, "int8.onnx")),
            _Faces(graph.graph.input[0].name, images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            # Without VNNI a processor adds two products of signed weights in 16 bits, with saturation; unsigned ones it adds exactly.
            weight_type=QuantType.QUInt8,
            per_channel=True,
            op_types_to_quantize=_operators(graph),
            nodes_to_exclude=list(_left_in_float(graph)),
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
        finished = _finished(onnx.load(str(Path(folder, "int8.onnx"))), model, "int8")
        onnx.save(finished, str(out))


class _Faces(CalibrationDataReader):
    """Feeds the calibration images in batches of 16."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        self.batches = iter([{name: images[i : i + BATCH]} for i in range(0, len(images), BATCH)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return input name -> next batch, or None."""
        return next(self.batches, None)


def _operators(model: ModelProto) -> list[str]:
    # Sums are quantised in CNNs only, where they lie between convolutions.
    kinds = {node.op_type for node in model.graph.node}
    return ["Conv", "Gemm", "MatMul", *([] if "LayerNormalization" in kinds else ["Add"])]


def _left_in_float(model: ModelProto) -> Iterator[str]:
    """Yield the names of the nodes that are not quantised, see `quantise`."""
    yield from _pooling(model)
    shapes = {one.name: list(one.dims) for one in model.graph.initializer}
    images = model.graph.input[0].name
    for node in model.graph.node:
        group = next((one.i for one in node.attribute if one.name == "group"), 1)
        slow = node.op_type == "Conv" and group > 1 and shapes.get(node.input[1], [0, 1])[1] > 1
        attends = node.op_type == "MatMul" and node.input[1] not in shapes
        if slow or attends or images in node.input:
            yield node.name


def _pooling(model: ModelProto) -> Iterator[str]:
    """Yield depthwise convolutions without padding: they pool the whole map."""
    shapes = {one.name: list(one.dims) for one in model.graph.initializer}
    for node in model.graph.node:
        said = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        channels, *_, side = shapes.get(node.input[1], [0, 0]) if node.op_type == "Conv" else [0, 0]
        if channels and said.get("group", 1) == channels and side > 1 and not any(said.get("pads", [])):
            yield node.name


def _finished(model: ModelProto, source: ModelProto, precision: str) -> ModelProto:
    """Return a converted model with its source's metadata and its precision."""
    said = {one.key: one.value for one in source.metadata_props}
    helper.set_model_props(model, {**said, "precision": precision})
    sort_nodes(model)
    onnx.checker.check_model(model)
    return model


@contextlib.contextmanager
def _converting(source: Path, precision: str) -> Iterator[None]:
    """Silence the converters, and turn their failures into one-line errors."""
    # Their warnings are advice for whoever calls them, not for the user.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    except ExportError:
        raise
    # The converters may raise any kind of exception.
    except Exception as error:
        reason = in_one_line(error)[:200]
        raise ExportError(
            f"export {source.name}: cannot be made {precision} ({type(error).__name__}: {reason}); expected a float32 "
            "recogniser of operators that onnxruntime converts. Ship it in float32."
        ) from error
    finally:
        logging.disable(before)
