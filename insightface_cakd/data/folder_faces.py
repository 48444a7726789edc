"""A folder of people as a labelled dataset."""

import os
from pathlib import Path

import numpy as np

from insightface_cakd.data.aligned_faces import EncodedFaces
from insightface_cakd.data.folders import find_people, shown
from insightface_cakd.data.images import read_bytes


class FolderFaces(EncodedFaces):
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

    def stored(self, index: int) -> tuple[int, bytes]:
        """Return the label of an item, and its file's content.

        Args:
            index: of the item.
        """
        path, label = self.items[index]
        return label, read_bytes(path)

    def where(self, index: int) -> str:
        """Return what names an item in an error: its path.

        Args:
            index: of the item.
        """
        return str(self.items[index][0])

    def labels(self) -> np.ndarray:
        """Return the label of every item."""
        return np.array([label for _, label in self.items])
