"""Check of a model pack, by using it as its users will."""

import contextlib
import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from insightface.app import FaceAnalysis
from insightface.model_zoo import get_model
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.landmark import Landmark

from insightface_cakd.data.align.photo import read_photo
from insightface_cakd.data.align.photos import find_photos
from insightface_cakd.data.align.similarity import align
from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import ExportError, in_one_line
from insightface_cakd.export.calibration import as_input
from insightface_cakd.export.check import MEAN, STD
from insightface_cakd.networks.onnx import CPU, OnnxNetwork

COSINE = 0.999


@dataclass(frozen=True)
class PackReport:
    """Result of the check of a pack.

    Args:
        faces: number of faces that were found and embedded in them.
        cosine: lowest cosine with the embeddings of our own pipeline; None without a face.
        landmarks: number of points of the pack's landmark model; 0 without one.
        apart: of five points, their mean distance from the detector's in the photos, as a fraction of the eyes' distance.
    """

    path: Path
    width: int
    photos: int = 0
    faces: int = 0
    cosine: float | None = None
    landmarks: int = 0
    apart: float | None = None

    def summary(self) -> str:
        """Return the result as one line of text."""
        line = f"{self.path}: loads in insightface.app.FaceAnalysis and model_zoo.get_model, {self.width}-d"
        if self.cosine is not None:
            line += f"; {self.faces} faces in {self.photos} photos, cosine with our own embeddings >= {self.cosine:.6f}"
        if self.landmarks:
            line += f"; {self.landmarks} landmarks"
        if self.apart is not None:
            line += f", on average {100 * self.apart:.1f} % of the eyes' distance from the detector's points"
        return line


def check_pack(folder: Path, student: Path, out: Path, photos: Path | None = None, manifest: bool = True) -> PackReport:
    """Load a pack with InsightFace, and compare its embeddings with our own.

    Our own embeddings come from the student's file, run without insightface. Compared are an image of noise in place of
    an aligned face, and the faces of the photos. Error messages name `out`, the final folder of the pack.
    """
    where = f"pack {out.name}"
    own = OnnxNetwork(student, torch.device("cpu"), FACE_SIZE, where)
    analysis, recogniser = _load(folder, out, where, manifest)
    aligned = np.random.default_rng(0).integers(0, 256, (FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
    found = recogniser.get_feat(aligned[..., ::-1])
    _require_equal(found[0], _own_embedding(own, aligned), f"{where}: an aligned face")
    report = PackReport(folder, found.shape[1], landmarks=_landmarks(analysis))
    return report if photos is None else _look(analysis, own, report, photos, where)


def embedding_width(student: Path) -> int:
    """Return the length of a recogniser's embedding, by running it once."""
    own = OnnxNetwork(student, torch.device("cpu"), FACE_SIZE, f"--student {student.name}")
    return own(torch.zeros(1, 3, FACE_SIZE, FACE_SIZE)).shape[1]


def _load(folder: Path, out: Path, where: str, manifest: bool) -> tuple[Any, Any]:
    """Load the pack by FaceAnalysis, and its recogniser by `get_model`."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            analysis = FaceAnalysis(name=str(folder), providers=CPU)
            analysis.prepare(ctx_id=0)
            found = analysis.models.get("recognition")
            recogniser = get_model(str(folder), model_task="recognition", providers=CPU) if manifest else found
    # insightface, onnx and onnxruntime share no base class but Exception.
    except Exception as error:
        reason = in_one_line(error).replace(folder.name, out.name)[:200]
        raise ExportError(f"{where}: insightface cannot load it ({reason}); expected a pack. Pack it anew.") from error
    models = {"detection": analysis.models["detection"], "recognition": analysis.models.get("recognition")}
    normalisation = (getattr(recogniser, "input_mean", None), getattr(recogniser, "input_std", None))
    if not isinstance(models["recognition"], ArcFaceONNX) or normalisation != (MEAN, STD):
        raise ExportError(f"{where}: insightface loads {models}; expected a detector and an ArcFaceONNX.")
    return analysis, recogniser


def _look(analysis: Any, own: OnnxNetwork, report: PackReport, photos: Path, where: str) -> PackReport:
    """Compare the embedding of every face in the photos."""
    files, count, lowest = find_photos(photos).files, 0, 1.0
    distances = []
    for file in files:
        bgr = read_photo(file)
        for face in _faces(analysis, bgr):
            aligned = align(bgr, face.kps)
            if report.landmarks == len(face.kps):
                distances.append(_apart(face[f"landmark_2d_{report.landmarks}"], face.kps))
            if aligned is not None:
                count += 1
                lowest = min(lowest, _require_equal(face.embedding, _own_embedding(own, aligned), f"{where}: {file}"))
    if not count:
        raise ExportError(
            f"{where}: finds no face in {len(files)} photos of {photos}; expected some. Is it the right detector?"
        )
    apart = float(np.mean(distances)) if distances else None
    return replace(report, photos=len(files), faces=count, cosine=lowest, apart=apart)


def _landmarks(analysis: Any) -> int:
    """Return the number of points of a pack's landmark model."""
    return next((model.lmk_num for model in analysis.models.values() if isinstance(model, Landmark)), 0)


def _apart(points: np.ndarray, detected: np.ndarray) -> float:
    """Return the mean distance of points (5, 2), as a fraction of that of the eyes."""
    eyes = max(float(np.linalg.norm(detected[0] - detected[1])), 1e-6)
    return float(np.linalg.norm(points - detected, axis=1).mean()) / eyes


def _faces(analysis: Any, bgr: np.ndarray) -> list[Any]:
    """Return the faces that insightface finds in a photo."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-image warns of a renamed function that insightface calls.
        try:
            return analysis.get(bgr)
        except cv2.error:
            # The photo is so narrow that the detector cannot scale it, as in `align_photo`.
            return []


def _own_embedding(own: OnnxNetwork, aligned: np.ndarray) -> np.ndarray:
    """Return the embedding of an aligned RGB face."""
    return own(torch.from_numpy(as_input(aligned[None])))[0].numpy()


def _require_equal(found: np.ndarray, expected: np.ndarray, where: str) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = float(found @ expected / (np.linalg.norm(found) * np.linalg.norm(expected)))
    if not cosine > COSINE:
        raise ExportError(
            f"{where}: the cosine of insightface's embedding with our own is {cosine:.6f}; expected more than {COSINE}. "
            "nan means an embedding that is zero or not finite."
        )
    return cosine
