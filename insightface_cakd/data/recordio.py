"""Reads and writes mxnet's `train.rec` and `train.idx` without mxnet, byte for byte."""

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from insightface_cakd.data.framing import frame, read_framed, read_index
from insightface_cakd.data.record import SCAN_ROWS, SCANNED, Place, Record, first_label_and_image, scan_words
from insightface_cakd.errors import DataError

# Of the bytes that are read at once.
_LEAST_AHEAD, _MOST_AHEAD = 1 << 8, 1 << 16


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
        # Half more than the mean length: most records are read by one call, and little is read in vain.
        mean = self.path.stat().st_size // len(self.keys)
        self._ahead = min(max(mean + mean // 2, _LEAST_AHEAD), _MOST_AHEAD)

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

    def offsets_of(self, keys: np.ndarray) -> np.ndarray:
        """Return where records begin, in bytes.

        Shape:
            keys: (N,), integers. Result: (N,), int64.

        Raises:
            DataError: a key is not in the index.
        """
        missing = ~self.has(keys)
        if missing.any():
            raise self._no_key(int(keys[missing][0]))
        return self.offsets[self._order[np.searchsorted(self._sorted, keys, side="right") - 1]]

    def where(self, key: int) -> str:
        """Return `file: record KEY at offset N`.

        Every error about a record begins with it.

        Args:
            key: a key of the index.

        Raises:
            DataError: the key is not in the index.
        """
        return str(self._place(key))

    def _place(self, key: int) -> Place:
        # As `offsets_of`, which takes several times as long for one key.
        row = int(self._sorted.searchsorted(key, side="right")) - 1
        if row < 0 or self._sorted.item(row) != key:
            raise self._no_key(key)
        return Place(self.path, key, self.offsets.item(self._order.item(row)))

    def _no_key(self, key: int) -> DataError:
        return DataError(
            f"{self.index_path}: no key {key}; it has {len(self.keys)} keys from {self._sorted[0]} to {self._sorted[-1]}. Index and "
            "records must come from the same run."
        )

    def read(self, key: int) -> Record:
        """Return one record.

        Args:
            key: a key of the index.

        Raises:
            DataError: the key is not in the index, or there is no complete record at its offset.
        """
        place = self._place(key)
        return Record.from_bytes(self._content(place), place)

    def image_at(self, place: Place) -> tuple[float, bytes]:
        """Return first label and image of a record whose offset is known.

        Args:
            place: of this file, the offset as from `offsets_of`.

        Raises:
            DataError: there is no complete record.
        """
        return first_label_and_image(self._content(place), place)

    def _content(self, place: Place) -> bytes:
        return read_framed(self.descriptor(), place.offset, place, self._ahead)[0]

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
        result = np.empty(len(keys), SCANNED)
        size = self.path.stat().st_size
        words = np.memmap(self.path, "<u4", "r", shape=(size // 4,)) if size >= 4 else np.zeros(1, "<u4")
        for start in range(0, len(keys), SCAN_ROWS):
            rows = slice(start, start + SCAN_ROWS)
            result[rows], unusual = scan_words(words, self.offsets_of(keys[rows]), size)
            for row in start + np.flatnonzero(unusual):
                record = self.read(int(keys[row]))
                result[row] = record.flag, record.labels[0], len(record.payload)
        return result


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
