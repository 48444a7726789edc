"""Does an exported file do what the network does, for onnxruntime and for InsightFace?"""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from insightface import model_zoo
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from torch import nn

from insightface_cakd.errors import ExportError

BATCHES = (1, 2, 32)
COSINE = 0.9999
MEAN = STD = 127.5
# InsightFace takes a file for self-normalising if one of its first eight nodes is called like a subtraction and one like a product.
LOOKED_AT = 8


@dataclass(frozen=True)
class ExportReport:
    """What the check measured.

    Args:
        path: the file.
        cosine: lowest cosine with torch at each batch size.
        largest_difference: over all batches.
        size: of the file, in bytes.
        width: of the embedding.
    """

    path: Path
    cosine: dict[int, float]
    largest_difference: float
    size: int
    width: int

    def summary(self) -> str:
        """Return one line."""
        lowest = min(self.cosine.values())
        batches = ", ".join(map(str, self.cosine))
        return (
            f"{self.path}: {self.size / 1e6:.2f} MB, {self.width}-d; equal to torch at batch {batches} (cosine >= {lowest:.6f}, largest "
            f"difference {self.largest_difference:.1e}); insightface.model_zoo loads it as ArcFaceONNX"
        )


def check_onnx(path: Path, backbone: nn.Module) -> ExportReport:
    """Compare a file with its network, and load it as InsightFace does.

    Args:
        path: written by `export_onnx`.
        backbone: what it was exported from.

    Raises:
        ExportError: contract, parity or InsightFace's router fail; the line says which.
    """
    _check_contract(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    cosine, differences, width = {}, [], 0
    for batch in BATCHES:
        images = torch.rand(batch, 3, 112, 112, generator=torch.Generator().manual_seed(batch)) * 2 - 1
        expected = _embed(backbone, images)
        found = session.run(None, {"data": images.numpy()})[0]
        if found.shape != expected.shape:
            raise ExportError(f"{path}: batch {batch} gives {found.shape}; expected {expected.shape}. The batch size was baked in.")
        cosine[batch] = float(_cosines(found, expected).min())
        differences.append(float(np.abs(found - expected).max()))
        width = found.shape[1]
    if not min(cosine.values()) > COSINE:
        raise ExportError(f"{path}: cosine with torch is {cosine} by batch size; expected more than {COSINE} at each. Export it again.")
    _check_insightface(path, backbone)
    return ExportReport(path, cosine, max(differences), path.stat().st_size, width)


def _check_contract(path: Path) -> None:
    """One float32 input and output, a free batch, and no node names that InsightFace misreads."""
    graph = onnx.load(str(path)).graph
    ends = [*graph.input, *graph.output]
    kinds = {end.type.tensor_type.elem_type for end in ends}
    if len(graph.input) != 1 or len(graph.output) != 1 or kinds != {onnx.TensorProto.FLOAT}:
        raise ExportError(f"{path}: {len(graph.input)} inputs and {len(graph.output)} outputs; expected one float32 input and one output.")
    names = [node.name for node in graph.node[:LOOKED_AT]]
    if any(name.startswith(("Sub", "_minus")) for name in names) and any(name.startswith(("Mul", "_mul")) for name in names):
        raise ExportError(f"{path}: nodes {names} look like a normalisation; InsightFace would feed raw pixels. Rename the nodes.")


def _check_insightface(path: Path, backbone: nn.Module) -> None:
    """Load the file with InsightFace's own router and compare two images in its way of feeding them."""
    # The router prints what it found.
    with contextlib.redirect_stdout(io.StringIO()):
        model = model_zoo.get_model(str(path), providers=["CPUExecutionProvider"])
    if not isinstance(model, ArcFaceONNX):
        raise ExportError(f"{path}: insightface.model_zoo takes it for {type(model).__name__}; expected ArcFaceONNX. Is the input 112x112?")
    if (model.input_mean, model.input_std) != (MEAN, STD):
        raise ExportError(f"{path}: insightface normalises with {model.input_mean}, {model.input_std}; expected {MEAN}, {STD}.")
    bgr = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    rgb = torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1].transpose(0, 3, 1, 2)))
    expected = _embed(backbone, (rgb.float() - MEAN) / STD)
    lowest = float(_cosines(model.get_feat(list(bgr)), expected).min())
    if not lowest > COSINE:
        raise ExportError(f"{path}: through insightface the cosine with torch is {lowest:.6f}; expected more than {COSINE}.")


@torch.no_grad()
def _embed(backbone: nn.Module, images: torch.Tensor) -> np.ndarray:
    """Run the network in eval mode on the CPU's copy of the images, and give it its mode back."""
    was_training = backbone.training
    backbone.eval()
    embeddings = backbone(images.to(next(backbone.parameters()).device)).float().cpu().numpy()
    backbone.train(was_training)
    return embeddings


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
