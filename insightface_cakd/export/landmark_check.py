"""Check of an exported landmark model against torch and InsightFace."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from insightface import model_zoo
from insightface.model_zoo.landmark import Landmark
from torch import nn

from insightface_cakd.data.landmarks.crop import LANDMARK_SIZE, Box, box_matrix, warp
from insightface_cakd.errors import ExportError
from insightface_cakd.export.failures import refusing
from insightface_cakd.networks.onnx_graph import opset_of

CLOSE = 1e-4
# InsightFace takes 3309 numbers for 3D points and their pose, and from 3000 on for triples.
MOST = 3000
# A photo of noise, and the box of a face in it, partly outside.
PHOTO, CORNERS = (240, 320), np.array([[180.0, 40.0], [330.0, 200.0]])


def check_landmarks(path: Path, graph: nn.Module) -> tuple[int, float, int]:
    """Compare a file with the torch graph, also as InsightFace runs it.

    Args:
        path: an .onnx file.
        graph: on the CPU, in eval mode; answers (1, 2 K) to raw pixels (1, 3, 192, 192).

    Returns:
        Number of points, largest difference, and opset.

    Raises:
        ExportError: contract, comparison or InsightFace's way of loading fails; the message says which.
    """
    where = f"export {path.name}"
    width = landmark_width(path, where)
    with refusing(f"{where}: onnxruntime cannot run it", "operators that it has."):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        images = [_noise(seed) for seed in range(3)]
        answers = [session.run(None, {session.get_inputs()[0].name: image})[0] for image in images]
    difference = max(
        _difference(answer, _torch(graph, image), where) for answer, image in zip(answers, images, strict=True)
    )
    _check_insightface(load_landmark(path, where), graph, where)
    return width // 2, difference, opset_of(onnx.load(str(path), load_external_data=False))


def landmark_width(path: Path, where: str) -> int:
    """Check a file against InsightFace's landmark contract; return 2 K."""
    with refusing(f"{where}: is no ONNX model", "one. Export it anew."):
        graph = onnx.load(str(path), load_external_data=False).graph
    shapes = [
        [dimension.dim_value if dimension.HasField("dim_value") else dimension.dim_param for dimension in shape]
        for end in (*graph.input, *graph.output)
        if (shape := end.type.tensor_type.shape.dim) is not None
    ]
    wanted = [1, 3, LANDMARK_SIZE, LANDMARK_SIZE]
    one_each = len(graph.input) == len(graph.output) == 1
    width = shapes[1][1] if one_each and len(shapes[1]) == 2 and shapes[1][0] == 1 else None
    if not one_each or shapes[0] != wanted or not isinstance(width, int) or width % 2 or not 2 <= width < MOST:
        raise ExportError(
            f"{where}: takes and gives {shapes}; expected one input {wanted} and one output [1, 2 K]. Is it a landmark model for "
            "InsightFace, as `cakd export` writes it?"
        )
    return width


def load_landmark(path: Path, where: str) -> Any:
    """Return InsightFace's model of a file, fed with raw pixels."""
    # get_model prints what it found.
    with (
        refusing(f"{where}: insightface cannot load it", "a landmark model."),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        model = model_zoo.get_model(str(path), providers=["CPUExecutionProvider"])
    if not isinstance(model, Landmark) or (model.input_mean, model.input_std) != (0.0, 1.0):
        said = ", ".join(str(getattr(model, name, None)) for name in ("input_mean", "input_std"))
        raise ExportError(
            f"{where}: insightface takes it for {type(model).__name__} with mean and deviation {said}; expected Landmark with 0.0, 1.0. "
            "Export it with `cakd export`."
        )
    return model


def _check_insightface(model: Any, graph: nn.Module, where: str) -> None:
    """Let InsightFace find the points of a face in a photo, and compare."""
    photo = np.random.default_rng(5).integers(0, 256, (*PHOTO, 3), dtype=np.uint8)
    face = _Face(bbox=CORNERS.reshape(-1))
    found = model.get(photo, face)
    matrix = box_matrix(Box.around(CORNERS, 1.5))
    crop, _ = warp(np.ascontiguousarray(photo[..., ::-1]), np.zeros((1, 2)), matrix, LANDMARK_SIZE)
    answer = _torch(graph, crop.transpose(2, 0, 1)[None].astype(np.float32)).reshape(-1, 2)
    expected = ((answer + 1) * (LANDMARK_SIZE // 2) - matrix[:, 2]) / matrix[0, 0]
    _difference(found / LANDMARK_SIZE, expected / LANDMARK_SIZE, f"{where}: in insightface")
    if f"landmark_2d_{len(expected)}" not in face:
        raise ExportError(
            f"{where}: insightface keeps its points as {list(face)}; expected landmark_2d_{len(expected)}."
        )


class _Face(dict[str, Any]):
    """What InsightFace's models read of a face: its box, as an attribute."""

    @property
    def bbox(self) -> np.ndarray:
        return self["bbox"]


@torch.no_grad()
def _torch(graph: nn.Module, pixels: np.ndarray) -> np.ndarray:
    return graph(torch.from_numpy(pixels)).numpy()


def _noise(seed: int) -> np.ndarray:
    size = (1, 3, LANDMARK_SIZE, LANDMARK_SIZE)
    return np.random.default_rng(seed).uniform(0, 255, size).astype(np.float32)


def _difference(found: np.ndarray, expected: np.ndarray, where: str) -> float:
    if found.shape != expected.shape:
        raise ExportError(f"{where} gives {found.shape}; torch gives {expected.shape}. Export it anew.")
    largest = float(np.abs(found - expected).max())
    if not largest <= CLOSE:
        raise ExportError(
            f"{where}: differs from torch by {largest:.1e}; expected at most {CLOSE:.0e}. Try the other exporter. nan means an answer "
            "that is not finite."
        )
    return largest
