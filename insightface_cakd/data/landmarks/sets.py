"""Opens a set of images with landmarks."""

from pathlib import Path

import numpy as np

from insightface_cakd.data.images import decode_rgb, read_bytes
from insightface_cakd.data.landmarks.flips import flip_of
from insightface_cakd.data.landmarks.lists import HEADER, PointList, read_list
from insightface_cakd.data.landmarks.points import PointSet
from insightface_cakd.data.landmarks.records import SUFFIX, RecordPoints
from insightface_cakd.errors import DataError


class FolderPoints(PointSet):
    """Images of a folder, whose landmarks are in a list.

    Args:
        listed: files and points in pixels.
        folder: with the files.
    """

    def __init__(self, listed: PointList, folder: Path) -> None:
        super().__init__(str(listed.path), listed.points.astype(np.float32), listed.names, flip_of(listed.names))
        self.files, self.folder = listed.files, folder

    def image(self, index: int) -> np.ndarray:
        """Return an image, uint8 (H, W, 3), RGB."""
        path = self.folder / self.files[index]
        return decode_rgb(read_bytes(path), str(path))

    def title(self, index: int) -> str:
        """Return the name of the file."""
        return self.files[index]


def set_names(folder: Path) -> list[str]:
    """Return the names of the sets in a folder, sorted."""
    lists = {path.stem for path in folder.glob("*.csv")}
    return sorted(lists | {path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}")})


def read_points(folder: Path, name: str) -> PointSet:
    """Open the set of a name in a folder.

    It is `<name>.csv`, in pixels, with images in `<name>/`; or the records that `cakd data pack-landmarks` writes.

    Raises:
        DataError: neither is there, both are, or one is damaged.
    """
    listed, packed = folder / f"{name}.csv", folder / f"{name}{SUFFIX}"
    if listed.is_file() and packed.is_file():
        raise DataError(f"{listed}: there is {packed.name} too; expected one of both. Remove or rename the other.")
    if packed.is_file():
        return RecordPoints(folder, name)
    if not listed.is_file():
        found = ", ".join(set_names(folder)) or "none"
        raise DataError(
            f"{listed}: no such file; found: {found}. Write it: {HEADER} Or pack records with `cakd data pack-landmarks`."
        )
    return FolderPoints(read_list(listed), folder / name)
