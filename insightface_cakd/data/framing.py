"""The layout of mxnet's record files: the frames, and their index.

A part is `u32 magic, u32 (cflag << 29 | length), bytes, zeros to a multiple of 4`, little-endian. A record whose bytes
contain the magic at a multiple of 4 is cut there into parts (cflag 1 first, 2 middle, 3 last; 0 is a whole record), and
those four bytes are left out.
"""

import os
import struct
import warnings

import numpy as np

from insightface_cakd.errors import DataError

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
LENGTH_BITS = 29
LENGTH_MASK = (1 << LENGTH_BITS) - 1
PART = struct.Struct("<II")


def frame(data: bytes) -> bytes:
    """Return a record's bytes as mxnet writes them to a file."""
    if len(data) > LENGTH_MASK:
        raise DataError(
            f"record of {len(data)} bytes; a RecordIO record is shorter than 2^29 bytes. Store a smaller image."
        )
    parts = _cut(data)
    flags = [0] if len(parts) == 1 else [1] + [2] * (len(parts) - 2) + [3]
    framed = [PART.pack(MAGIC, flag << LENGTH_BITS | len(part)) + part for flag, part in zip(flags, parts, strict=True)]
    return b"".join(framed) + bytes(-len(parts[-1]) % 4)


def _cut(data: bytes) -> list[bytes]:
    parts, start, found = [], 0, data.find(MAGIC_BYTES)
    while found >= 0:
        if found % 4 == 0:
            parts.append(data[start:found])
            start = found + 4
        found = data.find(MAGIC_BYTES, found + 1)
    return [*parts, data[start:]]


def read_framed(descriptor: int, offset: int, where: object, ahead: int = PART.size) -> tuple[bytes, int]:
    """Return the record at `offset` without frame, and the offset behind.

    Args:
        descriptor: of the file.
        offset: where its first part begins.
        where: names the record in an error.
        ahead: bytes to read at once; a part that is no longer takes one call of the system instead of three.

    Raises:
        DataError: there is no complete record.
    """
    flag, data, offset = _read_part(descriptor, offset, where, ahead)
    if flag not in (0, 1):
        raise DataError(
            f"{where}: part {flag} of a longer record; expected its first. The index does not fit the file."
        )
    parts = [data]
    while flag in (1, 2):
        flag, data, offset = _read_part(descriptor, offset, where, ahead)
        if flag not in (2, 3):
            raise DataError(f"{where}: a record of several parts lacks its last; the file is damaged. Copy it again.")
        parts.append(data)
    return MAGIC_BYTES.join(parts), offset


def _read_part(descriptor: int, offset: int, where: object, ahead: int) -> tuple[int, bytes, int]:
    """Return cflag, bytes and the offset behind the padding of one part."""
    head = os.pread(descriptor, ahead, offset) if offset >= 0 else b""
    if len(head) < PART.size:
        raise DataError(f"{where}: the file ends there; expected a record. It is truncated, or the index is another's.")
    magic, flag_and_length = PART.unpack_from(head)
    if magic != MAGIC:
        raise DataError(
            f"{where}: found 0x{magic:08x}; expected the RecordIO magic 0x{MAGIC:08x}. "
            "The index does not fit the file, or the file is damaged."
        )
    length = flag_and_length & LENGTH_MASK
    data = head[PART.size : PART.size + length]
    if len(data) < length:
        data = _read_long(descriptor, offset + PART.size, length, where)
    return flag_and_length >> LENGTH_BITS, data, offset + PART.size + length + -length % 4


def _read_long(descriptor: int, offset: int, length: int, where: object) -> bytes:
    # Before it is read: the length of a damaged record may be half a gigabyte.
    there = max(0, os.fstat(descriptor).st_size - offset)
    data = os.pread(descriptor, length, offset) if length <= there else b""
    if len(data) < length:
        raise DataError(
            f"{where}: the file ends after {min(there, length)} of {length} bytes; it is truncated. Copy it again."
        )
    return data


def read_index(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return keys and offsets in bytes of a `train.idx`, int64 (N,)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = np.loadtxt(path, dtype=np.int64, comments=None, ndmin=2)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or 'not found'}). It belongs beside train.rec."
        ) from error
    except UserWarning as error:
        raise DataError(f"{path}: holds no records; expected a line `key<TAB>offset` for each. Pack again.") from error
    except (ValueError, OverflowError, DeprecationWarning) as error:
        reason = str(error).split("\n")[0].split("; ")[0].rstrip(".")
        raise DataError(f"{path}: {reason}; expected lines `key<TAB>offset`. Make the index anew.") from error
    if table.shape[1] != 2:
        raise DataError(
            f"{path}: {table.shape[1]} numbers a line; expected two, `key<TAB>offset`. Make the index anew."
        )
    return table[:, 0].copy(), table[:, 1].copy()
