"""Export of a landmark student as InsightFace's landmark models are."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import Tensor, nn
from torch.nn.functional import interpolate

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.data.landmarks.crop import LANDMARK_SIZE
from insightface_cakd.errors import ExportError
from insightface_cakd.export.landmark_check import check_landmarks
from insightface_cakd.export.onnx import Exporter, export_onnx, plain_copy
from insightface_cakd.networks.onnx import FIRST_NODES
from insightface_cakd.runtime.atomic import work_folder, writing

CONTRACT = (
    "crop of the face box's centre, side 1.5 times its longer side, 192x192, RGB in [0, 255], normalised inside the graph; output x and y "
    "of each point in [-1, 1], pixel (p + 1) * 96"
)


@dataclass(frozen=True)
class LandmarkReport:
    """Result of the check of an exported landmark model.

    Args:
        difference: largest absolute difference to torch, in units of the output.
        size: of the file, in bytes.
    """

    path: Path
    points: int
    difference: float
    size: int
    opset: int

    def summary(self) -> str:
        """Return the result as one line of text."""
        return (
            f"{self.path}: {self.size / 1e6:.2f} MB, {self.points} points, opset {self.opset}; equal to torch (largest difference "
            f"{self.difference:.1e}); insightface.model_zoo loads it as Landmark, key landmark_2d_{self.points}"
        )


class LandmarkGraph(nn.Module):
    """A landmark student behind the input of InsightFace's landmark models.

    Normalises raw pixels, reduces them to 112 x 112, and gives x of the 192 pixels as p = x / 96 - 1. The student's own answer has its -1
    at the border of the first pixel, InsightFace's at its centre: 1/192 apart.

    Shape:
        pixels: (B, 3, 192, 192), RGB in [0, 255]. Result: (B, 2 K).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the points."""
        images = (pixels - 127.5) * (1 / 127.5)
        small = interpolate(images, size=(FACE_SIZE, FACE_SIZE), mode="bilinear", align_corners=False)
        return self.network(small) - 1 / LANDMARK_SIZE


def export_landmarks(
    backbone: nn.Module, out: Path, metadata: Mapping[str, str], exporter: Exporter = "legacy"
) -> LandmarkReport:
    """Export a landmark student, and put the file in place once checked.

    Args:
        backbone: answers (B, 2 K) to (B, 3, 112, 112).
        out: the .onnx file to write.
        metadata: written into the file, with the contract.
        exporter: see `export_onnx`.

    Raises:
        ExportError: the network cannot be exported, or the file does not do what it does.
    """
    graph = LandmarkGraph(plain_copy(backbone))
    with (
        writing(out, ExportError, f"export {out}") as checked,
        work_folder(checked) as folder,
    ):
        candidate = folder / out.name
        export_onnx(graph, candidate, {**metadata, "input_contract": CONTRACT}, exporter, LANDMARK_SIZE, 1)
        _name_normalisation(candidate)
        points, difference, opset = check_landmarks(candidate, graph)
        os.replace(candidate, checked)
    return LandmarkReport(out, points, difference, out.stat().st_size, opset)


def _name_normalisation(path: Path) -> None:
    """Name the first subtraction and product as InsightFace looks for them."""
    model = onnx.load(str(path))
    for kind in ("Sub", "Mul"):
        node = next((node for node in model.graph.node[:FIRST_NODES] if node.op_type == kind), None)
        if node is None:
            raise ExportError(
                f"export {path.name}: its first {FIRST_NODES} nodes have no {kind}; expected the normalisation there. Try the "
                "other exporter."
            )
        node.name = f"{kind}_normalise"
    onnx.save(model, str(path))
