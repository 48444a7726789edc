"""A cheap name for a training set, so that what was made from one is not used with another."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from insightface_cakd.data.folders import find_people
from insightface_cakd.data.images import read_bytes
from insightface_cakd.data.records import FaceRecords

# Of a larger set this many images, evenly spaced, stand for all: about 40 MB to read.
SAMPLED = 4096


def data_set_hash(folder: str | Path) -> str:
    """Return a sha256 over the number of images, and label and file content of up to 4096 of them, evenly spaced.

    Equal for a folder of people and for what `cakd data pack` makes of it, where packing keeps the bytes. Another order of the images
    gives another hash; of a set with more than 4096 images, a change of a few may give the same.

    Args:
        folder: holds train.rec and train.idx, or one folder of images per person.

    Raises:
        DataError: it is neither, or a record is damaged.
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
    """Return the number of images, and what gives label and encoded image of each."""
    faces = FaceRecords(folder)

    def item(index: int) -> tuple[int, bytes]:
        record = faces.reader.read(int(faces.keys[index]))
        return int(record.labels[0]), bytes(record.payload)

    return len(faces), item


def _people(folder: Path) -> tuple[int, Callable[[int], tuple[int, bytes]]]:
    files = [(label, path) for label, paths in enumerate(find_people(folder).images) for path in paths]
    return len(files), lambda index: (files[index][0], read_bytes(files[index][1]))
