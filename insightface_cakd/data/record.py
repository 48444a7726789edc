"""One record: header, labels and image; headers of many at once."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from insightface_cakd.data.framing import LENGTH_BITS, LENGTH_MASK, MAGIC, PART
from insightface_cakd.errors import DataError

# Flag, first label, two ids.
HEADER = struct.Struct("<IfQQ")
_LABEL = struct.Struct("<f")
SCAN_ROWS = 1 << 16
SCANNED = np.dtype([("flag", np.int64), ("label", np.float32), ("payload_bytes", np.int64)])


@dataclass(frozen=True)
class Record:
    """One record: labels, two ids and the encoded image.

    With `flag` 0 there is one label, stored in the header; with `flag` n > 0 there are n labels after the header.

    Args:
        labels: float32 values; ids above 16,777,216 are not exact.
        id, id2: unsigned 64-bit, by convention the record's key, and 0 for images.
    """

    flag: int
    labels: tuple[float, ...]
    id: int
    id2: int = 0
    payload: bytes = b""

    def __post_init__(self) -> None:
        if len(self.labels) != (self.flag or 1):
            raise DataError(
                f"record {self.id}: {len(self.labels)} labels with flag {self.flag}; "
                f"expected {self.flag or 1}. Give as many labels as the flag says (one for flag 0)."
            )

    def to_bytes(self) -> bytes:
        """Return header, labels and payload as stored inside the frame."""
        label, several = (0.0, self.labels) if self.flag else (self.labels[0], ())
        return HEADER.pack(self.flag, label, self.id, self.id2) + struct.pack(f"<{self.flag}f", *several) + self.payload

    @classmethod
    def from_bytes(cls, data: bytes, where: object) -> "Record":
        """Parse the bytes that `to_bytes` returns."""
        flag, first, identity, identity2 = _header(data, where)
        labels = struct.unpack_from(f"<{flag}f", data, HEADER.size) if flag else (first,)
        return cls(flag, labels, identity, identity2, data[HEADER.size + 4 * flag :])


def first_label_and_image(data: bytes, where: object) -> tuple[float, bytes]:
    """Return the two parts of a record that training needs.

    It takes a third of the time of `Record.from_bytes`.

    Args:
        data: as for `Record.from_bytes`.
        where: names the record in an error.

    Raises:
        DataError: it is no record of an image.
    """
    flag, first, _, _ = _header(data, where)
    if flag:
        (first,) = _LABEL.unpack_from(data, HEADER.size)
    return first, data[HEADER.size + 4 * flag :]


def _header(data: bytes, where: object) -> tuple[int, float, int, int]:
    header = HEADER.unpack_from(data) if len(data) >= HEADER.size else (0, 0.0, 0, 0)
    start = HEADER.size + 4 * header[0]
    if len(data) < start:
        raise DataError(
            f"{where}: {len(data)} bytes for a header with {header[0]} labels; expected at least {start}. "
            "It is not an image record: make the file anew."
        )
    return header


class Place(NamedTuple):
    """Where a record lies; its text begins every error about it."""

    path: Path
    key: int
    offset: int

    def __str__(self) -> str:
        return f"{self.path}: record {self.key} at offset {self.offset}"


def scan_words(words: np.ndarray, offsets: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read headers at `offsets` (N,), and find those that need more.

    Args:
        words: the file as uint32.
        offsets: of the records, in bytes.
        size: of the file, in bytes.

    Returns:
        `SCANNED` (N,), and bool (N,): which records need a full read.
    """
    first = np.clip(offsets // 4, 0, len(words) - 1)
    rows = words[np.minimum(first[:, None] + np.arange(9), len(words) - 1)]  # (N, 9): frame 2, header 6, first label
    length = (rows[:, 1] & LENGTH_MASK).astype(np.int64)
    result = np.empty(len(offsets), SCANNED)
    result["flag"] = rows[:, 2]
    result["label"] = np.where(rows[:, 2] == 0, rows[:, 3], rows[:, 8]).view(np.float32)
    result["payload_bytes"] = length - HEADER.size - 4 * result["flag"]
    unusual = (rows[:, 0] != MAGIC) | (rows[:, 1] >> LENGTH_BITS != 0) | (result["payload_bytes"] < 0)
    unusual |= (offsets < 0) | (offsets % 4 != 0) | (offsets + PART.size + length > size)
    return result, unusual
