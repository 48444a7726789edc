"""A folder of people as a labelled dataset."""

import os
from pathlib import Path

import numpy as np

from insightface_cakd.data.folders import find_people, shown
from insightface_cakd.data.images import FACE_SIZE, decode_rgb, read_bytes
from insightface_cakd.errors import DataError


class FolderFaces:
    """Aligned images, one folder per person, ordered like `cakd data pack`.

    Item i is `(uint8 (112, 112, 3) RGB, label)`.

    Args:
        folder: see `find_people`.

    Raises:
        DataError: no folder, or no images in it; on reading an item, an unreadable image or one of another size.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        people = find_people(folder)
        self.names: list[str] | None = people.names
        self.items = [(path, label) for label, paths in enumerate(people.images) for path in paths]
        self.num_classes = len(people.images)
        self.skipped = [shown(path, Path(folder)) for path in people.skipped]

    @property
    def stated_classes(self) -> int | None:
        """The number of people."""
        return self.num_classes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        path, label = self.items[index]
        return read_aligned(path), label

    def stored(self, index: int) -> tuple[int, bytes]:
        """Return the label of an item, and its file's content.

        Args:
            index: of the item.
        """
        path, label = self.items[index]
        return label, read_bytes(path)

    def labels(self) -> np.ndarray:
        """Return the label of every item."""
        return np.array([label for _, label in self.items])


def read_aligned(path: Path) -> np.ndarray:
    """Return an aligned image, uint8 (112, 112, 3) RGB.

    Args:
        path: the image.

    Raises:
        DataError: it cannot be read, or has another size.
    """
    rgb = decode_rgb(read_bytes(path), str(path))
    if rgb.shape != (FACE_SIZE, FACE_SIZE, 3):
        raise DataError(f"{path}: {rgb.shape[1]} x {rgb.shape[0]} pixels; expected 112 x 112. Align the faces first.")
    return rgb
