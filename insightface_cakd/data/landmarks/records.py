"""Landmarks in mxnet's records: the labels of an image are its points."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from insightface_cakd.data.images import decode_rgb
from insightface_cakd.data.landmarks.flips import check_flip
from insightface_cakd.data.landmarks.points import PointSet
from insightface_cakd.data.record import Record
from insightface_cakd.data.recordio import RecordReader, RecordWriter
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.reading import reading

SUFFIX = ".landmarks.json"
_FIX = "Pack it again with `cakd data pack-landmarks`."


class Description(BaseModel):
    """What `<name>.landmarks.json` says about the records beside it.

    Args:
        points: names of the K points; each image has 2 K labels x1, y1, x2, y2, ... in pixels of the stored image.
        images: number of records, keys 0 to images - 1.
        flip: the point that each one becomes in a mirror, from 0; null where it is not known.
        crop: how the images were cut, in words; null for whole images.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    points: list[str]
    images: int
    flip: list[int] | None = None
    crop: str | None = None


class RecordPoints(PointSet):
    """The images and landmarks of `<name>.rec`.

    Args:
        folder: with `<name>.rec`, `<name>.idx` and `<name>.landmarks.json`.
        name: of the set.

    Raises:
        DataError: a file is missing or damaged, or a record has another number of labels.
    """

    def __init__(self, folder: Path, name: str) -> None:
        path = folder / f"{name}{SUFFIX}"
        described = read_description(path)
        self.reader = RecordReader(folder / f"{name}.rec", folder / f"{name}.idx")
        if not np.array_equal(np.sort(self.reader.keys), np.arange(described.images)):
            raise DataError(
                f"{self.reader.index_path}: {len(self.reader.keys)} keys; expected 0 to {described.images - 1}, as {path.name} says. {_FIX}"
            )
        flip = None if described.flip is None else check_flip(described.flip, len(described.points), str(path))
        super().__init__(str(path), self._read_points(len(described.points)), described.points, flip)

    def _read_points(self, count: int) -> np.ndarray:
        rows = []
        for key in range(len(self.reader.keys)):
            labels = self.reader.read(key).labels
            if len(labels) != 2 * count or not np.isfinite(labels).all():
                raise DataError(f"{self.reader.where(key)}: {len(labels)} labels; expected {2 * count} numbers. {_FIX}")
            rows.append(labels)
        return np.array(rows, np.float32).reshape(-1, count, 2)

    def image(self, index: int) -> np.ndarray:
        """Return an image, uint8 (H, W, 3), RGB."""
        return decode_rgb(self.reader.read(index).payload, self.title(index))

    def title(self, index: int) -> str:
        """Return the place of the record."""
        return self.reader.where(index)


def read_description(path: Path) -> Description:
    """Read `<name>.landmarks.json`."""
    with reading(path, DataError, f"the description of landmarks. {_FIX}", ValueError):
        content = path.read_text(encoding="utf-8")
    try:
        described = Description.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}. {_FIX}") from error
    if not described.points or described.images < 1:
        raise DataError(f"{path}: {len(described.points)} points, {described.images} images; expected some. {_FIX}")
    return described


def write_records(
    folder: Path, name: str, described: Description, items: Iterable[tuple[bytes, Sequence[float]]]
) -> None:
    """Write `<name>.rec`, `<name>.idx` and the description.

    Args:
        folder: exists.
        name: of the set.
        described: of all the items.
        items: encoded image, and its 2 K labels.
    """
    with RecordWriter(folder / f"{name}.rec", folder / f"{name}.idx") as writer:
        for key, (payload, labels) in enumerate(items):
            writer.write(key, Record(len(labels), tuple(labels), key, 0, payload))
    text = json.dumps(described.model_dump(), indent=1) + "\n"
    (folder / f"{name}{SUFFIX}").write_text(text, encoding="utf-8")
