"""mxnet's record files, read and written by `insightface_cakd.data.recordio`."""

import numbers
import os
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from insightface_cakd.data.record import Record
from insightface_cakd.data.recordio import RecordReader, RecordWriter
from insightface_cakd.runtime.atomic import replacing

from .refusal import not_served, refuse

__getattr__ = refuse("mxnet.recordio")


class IRHeader(NamedTuple):
    """An image's header; `flag` is `label`'s length, 0 for a number."""

    flag: int
    label: Any
    id: int
    id2: int


def unpack(s: bytes) -> tuple[IRHeader, bytes]:
    """Return the header and the image of a record."""
    record = Record.from_bytes(s, "mxnet.recordio.unpack")
    label = np.array(record.labels, np.float32) if record.flag else record.labels[0]
    return IRHeader(record.flag, label, record.id, record.id2), record.payload


def pack(header: IRHeader, s: bytes) -> bytes:
    """Return one record; its flag follows from the label, as in mxnet."""
    _, label, identity, identity2 = header
    if isinstance(label, numbers.Number):
        flag, labels = 0, (float(label),)  # type: ignore[arg-type]
    else:
        labels = tuple(np.asarray(label, np.float32).ravel().tolist())
        flag = len(labels)
    return Record(flag, labels, int(identity), int(identity2), bytes(s)).to_bytes()


class MXIndexedRecordIO:
    """A record file with its index, for reading or writing.

    It can be used under fork and spawn. Written files appear at `close`, complete or not at all.
    """

    def __init__(self, idx_path: str | os.PathLike[str], uri: str | os.PathLike[str], flag: str, key_type: type = int):
        if flag not in ("r", "w") or key_type is not int:
            raise not_served(f"mxnet.recordio.MXIndexedRecordIO with flag={flag!r}, key_type={key_type.__name__}")
        self._reader = RecordReader(uri, idx_path) if flag == "r" else None
        self._writer: RecordWriter | None = None
        self._written: list[int] = []
        if flag == "w":
            with ExitStack() as opening:
                rec, idx = opening.enter_context(replacing(uri)), opening.enter_context(replacing(idx_path))
                self._writer = opening.enter_context(RecordWriter(rec, idx))
                self._files = opening.pop_all()

    @property
    def keys(self) -> list[int]:
        """The keys in the order of the index."""
        return self._written if self._reader is None else self._reader.keys.tolist()

    def read_idx(self, idx: int) -> bytes:
        """Return the record of a key, as `unpack` takes it."""
        if self._reader is None:
            raise not_served("mxnet.recordio.MXIndexedRecordIO.read_idx on a file opened with 'w'")
        return self._reader.read(int(idx)).to_bytes()

    def write_idx(self, idx: int, buf: bytes) -> None:
        """Append a record made by `pack`."""
        if self._writer is None:
            raise not_served("mxnet.recordio.MXIndexedRecordIO.write_idx on a file that is not open for writing")
        self._writer.write(int(idx), Record.from_bytes(buf, "mxnet.recordio.write_idx"))
        self._written.append(int(idx))

    def close(self) -> None:
        """Close the file; written files are moved to their final paths."""
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            self._writer = None
            self._files.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise not_served(f"mxnet.recordio.MXIndexedRecordIO.{name}")
