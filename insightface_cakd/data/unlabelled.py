"""Aligned faces of nobody in particular."""

import os
from pathlib import Path

import numpy as np

from insightface_cakd.data.folder_faces import read_aligned
from insightface_cakd.data.folders import image_files
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import DataError

NOBODY = -1


class UnlabelledFaces:
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
        self.records = FaceRecords(root) if (root / "train.rec").exists() else None
        self.files = [] if self.records is not None else image_files(root)
        if not len(self):
            raise DataError(f"{folder}: holds no images; expected aligned ones, or train.rec. See its layout.")

    def __len__(self) -> int:
        return len(self.files) if self.records is None else len(self.records)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if self.records is not None:
            return self.records[index][0], NOBODY
        return read_aligned(self.files[index]), NOBODY
