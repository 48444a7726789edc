"""Reads and writes mxnet's `train.rec` and `train.idx` without mxnet, byte for byte."""

import os
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from insightface_cakd.data.framing import LENGTH_BITS, LENGTH_MASK, MAGIC, PART, frame, read_framed, read_index
from insightface_cakd.errors import DataError

_HEADER = struct.Struct("<IfQQ")
_SCAN_ROWS = 1 << 16
_SCAN_DTYPE = np.dtype([("flag", np.int64), ("label", np.float32), ("payload_bytes", np.int64)])


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
        return (
            _HEADER.pack(self.flag, label, self.id, self.id2) + struct.pack(f"<{self.flag}f", *several) + self.payload
        )

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> "Record":
        """Parse the bytes that `to_bytes` returns."""
        flag, label, identity, identity2 = _HEADER.unpack_from(data) if len(data) >= _HEADER.size else (0, 0.0, 0, 0)
        start = _HEADER.size + 4 * flag
        if len(data) < start:
            raise DataError(
                f"{where}: {len(data)} bytes for a header with {flag} labels; expected at least {start}. "
                "It is not an image record: make the file anew."
            )
        labels = struct.unpack_from(f"<{flag}f", data, _HEADER.size) if flag else (label,)
        return cls(flag, labels, identity, identity2, data[start:])


class RecordReader:
    """Reads records by key, from any thread or process.

    Processes may be forked or spawned. Each opens the file for itself at its first read, and each read states its
    position, so nothing is shared. `keys` and `offsets` (bytes) are those of the index, int64, in its order.

    Args:
        rec: the record file.
        idx: its index.

    Raises:
        DataError: a file is missing, or the index is not one.

    Edge cases:
        A key that occurs twice in the index means its last line, as in mxnet.
    """

    def __init__(self, rec: str | os.PathLike[str], idx: str | os.PathLike[str]):
        self._descriptors: dict[int, int] = {}
        self.path, self.index_path = Path(rec), Path(idx)
        if not self.path.is_file():
            raise DataError(f"{rec}: no such file; expected a RecordIO file. Check the folder.")
        self.keys, self.offsets = read_index(idx)
        self._order = np.argsort(self.keys, kind="stable")
        self._sorted = self.keys[self._order]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_descriptors": {}}

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file in this process; the next read opens it again."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def descriptor(self) -> int:
        """Return the file descriptor of this process, for `os.pread`.

        Raises:
            DataError: the file cannot be opened.
        """
        process = os.getpid()
        if process not in self._descriptors:
            try:
                opened = os.open(self.path, os.O_RDONLY)
            except OSError as error:
                raise DataError(
                    f"{self.path}: cannot be opened: {error.strerror}. Check the file and its rights."
                ) from error
            # Two threads may get here at once: the first to store its descriptor wins.
            if self._descriptors.setdefault(process, opened) != opened:
                os.close(opened)
        return self._descriptors[process]

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Return which keys the index contains.

        Shape:
            keys: (N,), integers. Result: (N,), bool.
        """
        found = np.searchsorted(self._sorted, keys, side="right") - 1
        return (found >= 0) & (self._sorted[found] == keys)

    def _offsets_of(self, keys: np.ndarray) -> np.ndarray:
        missing = ~self.has(keys)
        if missing.any():
            raise DataError(
                f"{self.index_path}: no key {keys[missing][0]}; it has {len(self.keys)} keys from {self._sorted[0]} "
                f"to {self._sorted[-1]}. Index and records must come from the same run."
            )
        return self.offsets[self._order[np.searchsorted(self._sorted, keys, side="right") - 1]]

    def where(self, key: int) -> str:
        """Return `file: record KEY at offset N`.

        Every error about a record begins with it.

        Args:
            key: a key of the index.

        Raises:
            DataError: the key is not in the index.
        """
        return f"{self.path}: record {key} at offset {self._offsets_of(np.array([key]))[0]}"

    def read(self, key: int) -> Record:
        """Return one record.

        Args:
            key: a key of the index.

        Raises:
            DataError: the key is not in the index, or there is no complete record at its offset.
        """
        offset = int(self._offsets_of(np.array([key]))[0])
        where = f"{self.path}: record {key} at offset {offset}"
        return Record.from_bytes(read_framed(self.descriptor(), offset, where)[0], where)

    def scan(self, keys: np.ndarray) -> np.ndarray:
        """Return flag, first label and payload size of several records.

        Only headers are read.

        Shape:
            keys: (N,), integers.

        Returns:
            A structured array (N,) with fields `flag`, `label` (float32) and `payload_bytes`.

        Raises:
            DataError: as `read`.
        """
        result = np.empty(len(keys), _SCAN_DTYPE)
        size = self.path.stat().st_size
        words = np.memmap(self.path, "<u4", "r", shape=(size // 4,)) if size >= 4 else np.zeros(1, "<u4")
        for start in range(0, len(keys), _SCAN_ROWS):
            rows = slice(start, start + _SCAN_ROWS)
            result[rows], unusual = _scan_words(words, self._offsets_of(keys[rows]), size)
            for row in start + np.flatnonzero(unusual):
                record = self.read(int(keys[row]))
                result[row] = record.flag, record.labels[0], len(record.payload)
        return result


def _scan_words(words: np.ndarray, offsets: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read headers at `offsets` (N,); also return which rows need a full read."""
    first = np.clip(offsets // 4, 0, len(words) - 1)
    rows = words[np.minimum(first[:, None] + np.arange(9), len(words) - 1)]  # (N, 9): frame 2, header 6, first label
    length = (rows[:, 1] & LENGTH_MASK).astype(np.int64)
    result = np.empty(len(offsets), _SCAN_DTYPE)
    result["flag"] = rows[:, 2]
    result["label"] = np.where(rows[:, 2] == 0, rows[:, 3], rows[:, 8]).view(np.float32)
    result["payload_bytes"] = length - _HEADER.size - 4 * result["flag"]
    unusual = (rows[:, 0] != MAGIC) | (rows[:, 1] >> LENGTH_BITS != 0) | (result["payload_bytes"] < 0)
    unusual |= (offsets < 0) | (offsets % 4 != 0) | (offsets + PART.size + length > size)
    return result, unusual


class RecordWriter:
    """Writes `train.rec` and `train.idx`; a context manager.

    The files are those that mxnet's MXIndexedRecordIO writes.

    Args:
        rec: the record file to create.
        idx: the index to create; its lines are in the order of writing.

    Raises:
        OSError: a file cannot be created or written.
    """

    def __init__(self, rec: str | os.PathLike[str], idx: str | os.PathLike[str]):
        with ExitStack() as opening:
            self._records = opening.enter_context(Path(rec).open("wb"))
            self._index = opening.enter_context(Path(idx).open("w", encoding="ascii", newline="\n"))
            self._files = opening.pop_all()
        self._offset = 0

    def write(self, key: int, record: Record) -> None:
        """Append one record.

        Args:
            key: the record's key in the index.
            record: the record.

        Raises:
            DataError: the record is 2^29 bytes or longer.
            OSError: the disk is full.
        """
        data = frame(record.to_bytes())
        self._records.write(data)
        self._index.write(f"{key}\t{self._offset}\n")
        self._offset += len(data)

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)
