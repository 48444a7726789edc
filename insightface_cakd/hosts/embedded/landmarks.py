"""The landmarks of training faces, from a `landmarks.npy` beside the records."""

from pathlib import Path

import numpy as np

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.data.npy import map_npy
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.reading import reading

LANDMARKS = "landmarks.npy"
# Eyes and corners of the mouth change sides in a mirror.
MIRRORED = (1, 0, 2, 4, 3)


def mirror(points: np.ndarray) -> np.ndarray:
    """Return the landmarks of the mirrored image, (5, 2) in pixels."""
    return np.stack([FACE_SIZE - 1 - points[MIRRORED, 0], points[MIRRORED, 1]], axis=1)


def read_landmarks(folder: Path, images: int) -> np.ndarray:
    """Read the landmarks of every training image, in the order of `open_faces`.

    They are float32 (images, 5, 2): x and y of eyes, nose and corners of the mouth in pixels of the aligned image.
    """
    path = folder / LANDMARKS
    hint = f"Write it with numpy.save, float32 ({images}, 5, 2), or set urfm.landmarks: template."
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected it beside the records, since urfm.landmarks is batch. {hint}")
    with reading(path, DataError, f"a .npy file. {hint}", ValueError):
        landmarks = map_npy(path)
    if landmarks.shape != (images, 5, 2) or landmarks.dtype.kind not in "fiu":
        raise DataError(f"{path}: {landmarks.dtype} {landmarks.shape}; expected numbers ({images}, 5, 2). {hint}")
    outside = ~((landmarks >= 0) & (landmarks <= FACE_SIZE)).all(axis=(1, 2))
    if outside.any():
        first = int(outside.argmax())
        raise DataError(
            f"{path}: {int(outside.sum())} images have landmarks outside the image, first {first}: {landmarks[first].tolist()}; expected "
            f"pixels from 0 to {FACE_SIZE}. Leave such images out, or set urfm.landmarks: template."
        )
    return landmarks.astype(np.float32)
