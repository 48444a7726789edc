"""Check of an exported file against its network."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from insightface import model_zoo
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from torch import nn

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import ExportError
from insightface_cakd.export.failures import refusing
from insightface_cakd.export.onnx import plain_copy
from insightface_cakd.networks.onnx import FIRST_NODES, named_like_normalisation
from insightface_cakd.networks.onnx_graph import opset_of

_BATCHES = (1, 2, 32)
COSINE = 0.9999
MEAN = STD = 127.5


@dataclass(frozen=True)
class ExportReport:
    """Result of the check of an exported file.

    Args:
        path: the file.
        cosine: batch size -> lowest cosine with the reference's embeddings.
        largest_difference: largest absolute difference between two components, over all batches.
        size: size of the file in bytes.
        width: length of the embedding.
        opset: version of the ONNX operator set that a reader of the file must support.
        reference: name of what the file was compared with.
    """

    path: Path
    cosine: dict[int, float]
    largest_difference: float
    size: int
    width: int
    opset: int
    reference: str = "torch"

    def summary(self) -> str:
        """Return the result as one line of text."""
        batches = ", ".join(map(str, self.cosine))
        agrees = "equal to torch" if self.reference == "torch" else f"compared with {self.reference}"
        return (
            f"{self.path}: {self.size / 1e6:.2f} MB, {self.width}-d, opset {self.opset}; {agrees} at batch "
            f"{batches} (cosine >= {min(self.cosine.values()):.6f}, largest difference {self.largest_difference:.1e}); "
            "insightface.model_zoo loads it as ArcFaceONNX"
        )


def check_onnx(path: Path, backbone: nn.Module) -> ExportReport:
    """Compare a file with its network, and load it as InsightFace does.

    Args:
        path: an .onnx file with one input and one output; their names do not matter.
        backbone: the network that it was exported from; not changed.

    Raises:
        ExportError: the contract, the comparison or InsightFace's way of loading fails; the message says which.
    """
    return check_against(path, plain_copy(backbone), "torch", COSINE, noise)


def check_against(
    path: Path, network: nn.Module, reference: str, floor: float, draw: Callable[[int], torch.Tensor]
) -> ExportReport:
    """Compare a file with any network, and load it as InsightFace does.

    The network is on the CPU, in float32 and eval mode; `draw` returns so many images, see `noise`.
    """
    where = f"export {path.name}"
    opset = check_contract(path, where)
    with refusing(f"{where}: onnxruntime cannot load it", "operators that it has."):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    cosine, difference, width = {}, 0.0, 0
    for batch in _BATCHES:
        images = draw(batch)
        with refusing(f"{where}: fails at batch {batch}", "any batch. Export it anew."):
            found = session.run(None, {entry.name: images.numpy()})[0]
        expected = _embed(network, images, where)
        cosine[batch] = lowest_cosine(found, expected, f"{where}: batch {batch}", reference, floor)
        difference = max(difference, float(np.abs(found - expected).max()))
        width = found.shape[1]
    _check_insightface(path, network, where, reference, floor, draw)
    return ExportReport(path, cosine, difference, path.stat().st_size, width, opset, reference)


def noise(batch: int) -> torch.Tensor:
    """Return images of uniform noise, the same ones per batch size.

    float32 (B, 3, 112, 112) in [-1, 1].
    """
    return torch.rand(batch, 3, FACE_SIZE, FACE_SIZE, generator=torch.Generator().manual_seed(batch)) * 2 - 1


def check_contract(path: Path, where: str) -> int:
    """Check a file against the contract of InsightFace's recognisers; return its opset.

    It must be readable, have its weights inside, have one float32 input (batch, 3, 112, 112) with a free batch size and
    one float32 output, and have no nodes that InsightFace would mistake for a normalisation of the images.
    """
    with refusing(f"{where}: is no ONNX model", "one. Export it anew."):
        model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    if any(weight.data_location == onnx.TensorProto.EXTERNAL for weight in graph.initializer):
        raise ExportError(f"{where}: its weights lie in another file; expected one file. Export it anew.")
    ends = [*graph.input, *graph.output]
    if len(graph.input) != 1 or len(graph.output) != 1 or any(_kind(end) != onnx.TensorProto.FLOAT for end in ends):
        kinds = ", ".join(f"{end.name} {onnx.TensorProto.DataType.Name(_kind(end))}" for end in ends)
        raise ExportError(
            f"{where}: {len(graph.input)} inputs and {len(graph.output)} outputs ({kinds}); expected one float32 input "
            "and one float32 output. Export the bare backbone in eval mode."
        )
    shape = _shape(graph.input[0])
    if len(shape) != 4 or isinstance(shape[0], int) or shape[1:] != [3, FACE_SIZE, FACE_SIZE]:
        raise ExportError(
            f"{where}: takes {shape}; expected ['batch', 3, {FACE_SIZE}, {FACE_SIZE}], the batch free. Export it anew."
        )
    names = named_like_normalisation(model)
    if names is not None:
        raise ExportError(
            f"{where}: its first {FIRST_NODES} nodes are called {', '.join(names)}; InsightFace takes these for a "
            "normalisation and would feed raw pixels. Rename the submodules that they come from."
        )
    return opset_of(model)


def _check_insightface(
    path: Path, network: nn.Module, where: str, reference: str, floor: float, draw: Callable[[int], torch.Tensor]
) -> None:
    """Load the file with InsightFace, and compare the embeddings of two images."""
    # get_model prints what it found.
    with refusing(f"{where}: insightface cannot load it", "a recogniser."), contextlib.redirect_stdout(io.StringIO()):
        model = model_zoo.get_model(str(path), providers=["CPUExecutionProvider"])
    if not isinstance(model, ArcFaceONNX) or (model.input_mean, model.input_std) != (MEAN, STD):
        said = ", ".join(str(getattr(model, name, None)) for name in ("input_mean", "input_std"))
        raise ExportError(
            f"{where}: insightface takes it for {type(model).__name__} with mean and deviation {said}; expected "
            f"ArcFaceONNX with {MEAN}, {STD}. Is it a recogniser?"
        )
    rgb = (draw(2) * STD + MEAN).round().clamp(0, 255)
    bgr = rgb.to(torch.uint8).permute(0, 2, 3, 1).flip(-1).contiguous().numpy()
    expected = _embed(network, (rgb - MEAN) / STD, where)
    lowest_cosine(model.get_feat(list(bgr)), expected, f"{where}: in insightface", reference, floor)


@torch.no_grad()
def _embed(network: nn.Module, images: torch.Tensor, where: str) -> np.ndarray:
    """Return the embeddings that torch computes; refuse shapes other than (B, D)."""
    rows = network(images)
    shape = tuple(rows.shape) if isinstance(rows, torch.Tensor) else type(rows).__name__
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[0] != len(images):
        raise ExportError(
            f"{where}: {type(network).__name__} gives {shape} for {len(images)} images; expected ({len(images)}, D). "
            "Export the bare backbone, whose eval mode returns the embedding alone."
        )
    return rows.numpy()


def lowest_cosine(
    found: np.ndarray,
    expected: np.ndarray,
    where: str,
    reference: str,
    floor: float,
    advice: str = "Try the other exporter.",
) -> float:
    """Return the lowest cosine between corresponding embeddings (B, D).

    `advice` ends the error about a cosine that is too low: what the user can do.
    """
    if found.shape != expected.shape:
        raise ExportError(f"{where} gives {found.shape}; {reference} gives {expected.shape}. Export it anew.")
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        lowest = float(((found * expected).sum(axis=1) / norms).min())
    if not lowest > floor:
        raise ExportError(
            f"{where}, the cosine with {reference} is {lowest:.6f}; expected more than {floor}. {advice} nan means an "
            "embedding that is zero or not finite."
        )
    return lowest


def _kind(end: onnx.ValueInfoProto) -> int:
    return end.type.tensor_type.elem_type


def _shape(end: onnx.ValueInfoProto) -> list[int | str]:
    """Return the dimensions of an input: numbers if fixed, names if free."""
    dimensions = end.type.tensor_type.shape.dim
    return [one.dim_value if one.HasField("dim_value") else one.dim_param for one in dimensions]
