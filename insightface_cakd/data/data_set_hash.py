"""A hash that identifies a training set and is cheap to compute."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from insightface_cakd.data.folders import find_people
from insightface_cakd.data.images import read_bytes
from insightface_cakd.data.records import FaceRecords

# A larger set is represented by this many evenly spaced images: about 40 MB to read.
SAMPLED = 4096


def data_set_hash(folder: str | Path) -> str:
    """Return a sha256 that identifies a record file or folder of people.

    It covers the number of images, and the label and file content of up to 4096 of them, evenly spaced, in order: in a
    larger set a change may go unseen. A folder of people and the record file that `cakd data pack` makes of it have the
    same hash, where packing keeps the bytes.
    """
    path = Path(folder)
    count, item = _records(path) if (path / "train.rec").exists() else _people(path)
    digest = hashlib.sha256(f"{count}\n".encode())
    for index in np.linspace(0, count - 1, min(count, SAMPLED)).astype(np.int64).tolist():
        label, content = item(index)
        digest.update(f"{label} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _records(folder: Path) -> tuple[int, Callable[[int], tuple[int, bytes]]]:
    """Return the number of images and a function from index to label and encoded image."""
    faces = FaceRecords(folder)

    def item(index: int) -> tuple[int, bytes]:
        record = faces.reader.read(int(faces.keys[index]))
        return int(record.labels[0]), bytes(record.payload)

    return len(faces), item


def _people(folder: Path) -> tuple[int, Callable[[int], tuple[int, bytes]]]:
    files = [(label, path) for label, paths in enumerate(find_people(folder).images) for path in paths]
    return len(files), lambda index: (files[index][0], read_bytes(files[index][1]))
