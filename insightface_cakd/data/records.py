"""A folder with `train.rec` and `train.idx` as a labelled dataset."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from insightface_cakd.data.aligned_faces import EncodedFaces
from insightface_cakd.data.record import Place
from insightface_cakd.data.recordio import RecordReader
from insightface_cakd.errors import DataError

FLOAT32_EXACT = 1 << 24
# As InsightFace names them.
RECORDS, INDEX = "train.rec", "train.idx"


def has_records(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder holds `train.rec`."""
    return Path(folder, RECORDS).is_file()


def open_records(folder: str | os.PathLike[str]) -> RecordReader:
    """Open `train.rec` and `train.idx` of a folder."""
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: no such folder; expected one that holds train.rec and train.idx. Check the path.")
    return RecordReader(Path(folder, RECORDS), Path(folder, INDEX))


def read_header(reader: RecordReader) -> tuple[int, int] | None:
    """Return the key ranges of an InsightFace header record, `(a, b)`.

    Images have keys 1 to a-1, identities keys a to b-1. A header is key 0 with two or more labels and no image; without
    one the file is in im2rec style, and None is returned. (`im2rec --pack-label` gives images several labels too.)
    """
    if not reader.has(np.array([0]))[0]:
        return None
    record = reader.read(0)
    if record.flag < 2 or record.payload:
        return None
    first, last = record.labels[:2]
    if not (np.isfinite([first, last]).all() and 1 < first <= last):
        raise DataError(f"{reader.where(0)}: header labels {first}, {last}; expected 1 < first <= last. Pack again.")
    if last - first > FLOAT32_EXACT:
        raise DataError(
            f"{reader.where(0)}: the header counts {last - first:.0f} people; expected at most {FLOAT32_EXACT}, as labels are float32. "
            "Pack again."
        )
    if first - 1 > len(reader.keys):
        raise DataError(
            f"{reader.where(0)}: the header counts {first - 1:.0f} images, the index has {len(reader.keys)} lines; "
            "expected more lines than images. The index is not this file's, or is cut off."
        )
    return _first_identity(reader, int(first)), int(last)


def _first_identity(reader: RecordReader, stated: int) -> int:
    """Return the key behind the last image, given the header's label.

    Above 2^24 float32 is not exact: there it is the first key near the stated one that holds no image.
    """
    if stated < FLOAT32_EXACT:
        return stated
    reach = int(np.spacing(np.float32(stated)))
    for key in range(stated - reach, stated + reach + 1):
        if not reader.has(np.array([key]))[0] or not reader.read(key).payload:
            return key
    return stated


def _check_end(reader: RecordReader, behind: int) -> None:
    """Check that no image lies behind those that the header counts."""
    if reader.has(np.array([behind]))[0] and reader.read(behind).payload:
        raise DataError(
            f"{reader.where(0)}: the header counts {behind - 1} images, and key {behind} holds one more; expected none behind them, as it "
            "would be left out of training. Pack again."
        )


def label_fault(label: float) -> str | None:
    """Return why a first label is not an identity, or None."""
    if not (0 <= label <= FLOAT32_EXACT and float(label).is_integer()):
        return f"label {label:g} is not an identity; expected a whole number from 0 to {FLOAT32_EXACT}"
    return None


class FaceRecords(EncodedFaces):
    """Faces and labels of a record folder, in arcface_torch's order.

    InsightFace style (header record key 0): keys 1 to a-1. im2rec style: all keys in the order of the index, with gaps.
    Item i is `(uint8 (112, 112, 3) RGB, label)`, with the record's first label. Safe under fork, spawn and threads.

    Args:
        folder: holds `train.rec` and `train.idx`.

    Raises:
        DataError: a file is missing or damaged, or the header names more or fewer images than there are; on reading an item,
            also a payload that is not an image, another size than 112 x 112, and a label that is not a whole number
            from 0.
    """

    style: Literal["insightface", "im2rec"]
    # Records have none.
    names: Sequence[str] | None = None

    def __init__(self, folder: str | os.PathLike[str]):
        self.reader = open_records(folder)
        self.header = read_header(self.reader)
        self.style = "im2rec" if self.header is None else "insightface"
        self.keys = self.reader.keys if self.header is None else np.arange(1, self.header[0])
        missing = self.keys[~self.reader.has(self.keys)]
        if len(missing):
            raise DataError(
                f"{self.reader.index_path}: {len(missing)} of the {len(self.keys)} images of the header are not in it, "
                f"first key {missing[0]}. Index and records must come from the same run."
            )
        self._offsets = self.reader.offsets_of(self.keys)
        if self.header is not None:
            _check_end(self.reader, self.header[0])

    def __len__(self) -> int:
        return len(self.keys)

    def stored(self, index: int) -> tuple[int, bytes]:
        """Return the label of an item, and its encoded image.

        Args:
            index: of the item.
        """
        place = self._place(index)
        label, image = self.reader.image_at(place)
        if fault := label_fault(label):
            raise DataError(f"{place}: {fault}. Run the data check.")
        return int(label), image

    def where(self, index: int) -> str:
        """Return what names an item in an error: file, key and offset.

        Args:
            index: of the item.
        """
        return str(self._place(index))

    def _place(self, index: int) -> Place:
        return Place(self.reader.path, self.keys.item(index), self._offsets.item(index))

    def labels(self) -> np.ndarray:
        """Return the label of every item, int64 (len,).

        The labels are read from the headers: no image is decoded.

        Raises:
            DataError: a label is not a whole number from 0; the record is named.
        """
        return self._labels.copy()

    @cached_property
    def _labels(self) -> np.ndarray:
        labels = self.reader.scan(self.keys)["label"]
        with np.errstate(invalid="ignore"):
            wrong = ~((labels >= 0) & (labels <= FLOAT32_EXACT) & (labels == np.floor(labels)))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{self.reader.where(int(self.keys[row]))}: {label_fault(labels[row])}. Run the data check."
            )
        return labels.astype(np.int64)

    @property
    def stated_classes(self) -> int | None:
        """The number of identities in the header; None without it."""
        stated = 0 if self.header is None else self.header[1] - self.header[0]
        return stated or None

    @cached_property
    def num_classes(self) -> int:
        """The number of identities.

        It is that of the header, otherwise the largest label plus one (reads all headers once).
        """
        return self.stated_classes or int(self._labels.max()) + 1
