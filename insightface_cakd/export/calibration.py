"""Calibration images for int8: they set the ranges of the activations."""

from pathlib import Path

import numpy as np

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.folders import find_people
from insightface_cakd.data.images import FACE_SIZE, decode_rgb, read_bytes
from insightface_cakd.data.records import FaceRecords, has_records
from insightface_cakd.errors import DataError, ExportError

FACES = 256
# With fewer faces, the measured ranges describe these faces and not the network.
_FEWEST = 16


def calibration_faces(source: Path, count: int = FACES) -> np.ndarray:
    """Return evenly spaced faces of a data set.

    They are uint8 (N, 112, 112, 3) RGB. The source is a folder with train.rec and train.idx, a folder with one
    subfolder per person, or a verification .bin; if it has fewer than `count` faces, all are returned.
    """
    if source.is_file():
        images = load_bin(source).images
        chosen = [images[i] for i in _spread(len(images), count, source)]
    elif has_records(source):
        records = FaceRecords(source)
        chosen = [records[i][0] for i in _spread(len(records), count, source)]
    else:
        files = [file for images in find_people(source).images for file in images]
        chosen = [decode_rgb(read_bytes(files[i]), str(files[i])) for i in _spread(len(files), count, source)]
    for face in chosen:
        if face.shape != (FACE_SIZE, FACE_SIZE, 3):
            raise DataError(
                f"{source}: a face of {face.shape[1]}x{face.shape[0]} pixels; expected aligned ones, "
                f"{FACE_SIZE}x{FACE_SIZE}. Align the photos with `cakd data align`."
            )
    return np.stack(chosen)


def as_input(faces: np.ndarray) -> np.ndarray:
    """Return RGB images in the layout and range that a network takes.

    uint8 (N, H, W, 3) becomes float32 (N, 3, H, W) in [-1, 1].
    """
    return np.ascontiguousarray((faces.astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2))


def _spread(available: int, count: int, source: Path) -> list[int]:
    if available < _FEWEST:
        raise ExportError(
            f"--calibrate {source}: {available} faces; expected at least {_FEWEST}, better {FACES}. Give it a larger set."
        )
    return np.unique(np.linspace(0, available - 1, min(count, available)).round().astype(int)).tolist()
