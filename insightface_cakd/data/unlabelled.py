"""Aligned faces of nobody in particular."""

import os
from pathlib import Path

from insightface_cakd.data.aligned_faces import EncodedFaces
from insightface_cakd.data.face_folder import open_records_of
from insightface_cakd.data.folders import image_files
from insightface_cakd.data.images import read_bytes
from insightface_cakd.errors import DataError

NOBODY = -1


class UnlabelledFaces(EncodedFaces):
    """The images of a folder or of records, without labels.

    Item i is `(uint8 (112, 112, 3) RGB, -1)`; images of a folder are those at any depth, in natural order.

    Args:
        folder: holds train.rec and train.idx, or images.

    Raises:
        DataError: no folder, or no images in it; on reading an item, an unreadable image or one of another size.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise DataError(f"{folder}: no such folder; expected aligned images, or train.rec. Check the path.")
        self.records = open_records_of(root)
        self.files = [] if self.records is not None else image_files(root)
        if not len(self):
            raise DataError(f"{folder}: holds no images; expected aligned ones, or train.rec. See its layout.")

    def __len__(self) -> int:
        return len(self.files) if self.records is None else len(self.records)

    def stored(self, index: int) -> tuple[int, bytes]:
        """Return -1, and an item's encoded image.

        Args:
            index: of the item.
        """
        return NOBODY, read_bytes(self.files[index]) if self.records is None else self.records.stored(index)[1]

    def where(self, index: int) -> str:
        """Return what names an item in an error.

        Args:
            index: of the item.
        """
        return str(self.files[index]) if self.records is None else self.records.where(index)
