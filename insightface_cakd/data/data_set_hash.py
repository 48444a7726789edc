"""A hash that identifies a training set and is cheap to compute."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from insightface_cakd.data.face_folder import open_face_folder

# A larger set is represented by this many evenly spaced images: about 40 MB to read.
SAMPLED = 4096


class Stored(Protocol):
    """Labelled images as they lie on the disk."""

    @property
    def names(self) -> Sequence[str] | None:
        """People in the order of their labels; None without names."""

    @property
    def stated_classes(self) -> int | None:
        """The number of people, None where only all labels tell it."""

    def __len__(self) -> int: ...

    def stored(self, index: int) -> tuple[int, bytes]:
        """Return the label of an image, and its encoded content.

        Args:
            index: of the image.
        """


def data_set_hash(folder: str | Path) -> str:
    """Return a sha256 that identifies a record file or folder of people.

    It covers the number of images, and the label and file content of up to 4096 of them, evenly spaced, in order: in a
    larger set a change may go unseen. A folder of people and the record file that `cakd data pack` makes of it have the
    same hash, where packing keeps the bytes.
    """
    return sample_hash(open_face_folder(folder), SAMPLED)


def sample_hash(faces: Stored, most: int) -> str:
    """Return a sha256 of the number of images and of a sample.

    Args:
        faces: labelled images.
        most: so many, evenly spaced, are read with their labels.
    """
    count = len(faces)
    digest = hashlib.sha256(f"{count}\n".encode())
    for index in np.linspace(0, count - 1, min(count, most)).astype(np.int64).tolist():
        label, content = faces.stored(index)
        digest.update(f"{label} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
