"""The frame around a record: cut at the magic, put together again, damage named."""

import struct
from pathlib import Path

import numpy as np
import pytest

from insightface_cakd.data.record import Record
from insightface_cakd.data.recordio import RecordReader, RecordWriter
from insightface_cakd.errors import DataError
from tests.data.record_files import MAGIC, image_record, whole_part, write_set


def reader_of(folder: Path) -> RecordReader:
    return RecordReader(folder / "train.rec", folder / "train.idx")


# Each case: the payload, and the parts (cflag, bytes) that stand in the file behind the 24-byte header.
@pytest.mark.parametrize(
    ("payload", "parts"),
    [
        pytest.param(b"abcde", [(0, b"abcde")], id="no magic"),
        pytest.param(b"abcd" + MAGIC + b"efg", [(1, b"abcd"), (3, b"efg")], id="one magic"),
        pytest.param(MAGIC + b"efgh", [(1, b""), (3, b"efgh")], id="magic at the beginning"),
        pytest.param(b"abcd" + MAGIC, [(1, b"abcd"), (3, b"")], id="magic at the end"),
        pytest.param(b"ab" + MAGIC + b"cd", [(0, b"ab" + MAGIC + b"cd")], id="unaligned magic stays"),
        pytest.param(MAGIC + MAGIC, [(1, b""), (2, b""), (3, b"")], id="two magics in a row"),
        pytest.param(b"abcd" + MAGIC[:3], [(0, b"abcd" + MAGIC[:3])], id="cut-off magic at the end stays"),
        pytest.param(
            b"abcd" + MAGIC + b"ef" + MAGIC + b"gh" + MAGIC,
            [(1, b"abcd"), (2, b"ef" + MAGIC + b"gh"), (3, b"")],
            id="aligned, unaligned, aligned",
        ),
    ],
)
def test_a_payload_with_the_magic_is_cut_into_parts_and_put_together(
    tmp_path: Path, payload: bytes, parts: list[tuple[int, bytes]]
) -> None:
    header = struct.pack("<IfQQ", 0, 7.0, 3, 0)
    by_hand = b"".join(whole_part(header * (not i) + data, flag) for i, (flag, data) in enumerate(parts))
    with RecordWriter(tmp_path / "train.rec", tmp_path / "train.idx") as writer:
        writer.write(3, Record(0, (7.0,), 3, 0, payload))
        writer.write(4, Record(0, (8.0,), 4, 0, b"next"))
    assert (tmp_path / "train.rec").read_bytes().startswith(by_hand)
    assert reader_of(tmp_path).read(3).payload == payload
    assert reader_of(tmp_path).read(4) == Record(0, (8.0,), 4, 0, b"next")
    assert reader_of(tmp_path).scan(np.array([3, 4])).tolist() == [(0, 7.0, len(payload)), (0, 8.0, 4)]


def test_magic_in_the_header_itself_survives(tmp_path: Path) -> None:
    record = Record(0, (1.0,), 0xCED7230A, 0xCED7230A, MAGIC + b"x")
    with RecordWriter(tmp_path / "train.rec", tmp_path / "train.idx") as writer:
        writer.write(1, record)
    assert reader_of(tmp_path).read(1) == record
    assert reader_of(tmp_path).scan(np.array([1])).tolist() == [(0, 1.0, 5)]


@pytest.mark.slow
def test_an_image_of_half_a_gigabyte_is_refused(tmp_path: Path) -> None:
    with (
        RecordWriter(tmp_path / "train.rec", tmp_path / "train.idx") as writer,
        pytest.raises(DataError, match=r"536870936 bytes; a RecordIO record is shorter than 2\^29"),
    ):
        writer.write(1, Record(0, (0.0,), 1, 0, bytes(1 << 29)))


DAMAGE = {
    "cut inside the payload": (lambda data: data[:-8], 2, r"record 2 at offset 40: the file ends after 24 of 32 bytes"),
    "cut inside the frame": (lambda data: data[:44], 2, r"record 2 at offset 40: the file ends there"),
    "overwritten magic": (lambda data: b"\x01" + data[1:], 1, r"record 1 at offset 0: found 0xced72301; expected"),
    "starts with a last part": (
        lambda data: data[:4] + struct.pack("<I", 3 << 29 | 29) + data[8:],
        1,
        r"record 1 at offset 0: part 3 of a longer record",
    ),
    "never gets its last part": (
        lambda data: data[:4] + struct.pack("<I", 1 << 29 | 29) + data[8:],
        1,
        r"record 1 at offset 0: a record of several parts lacks its last",
    ),
    "labels longer than the record": (
        lambda data: data[:8] + struct.pack("<I", 1000) + data[12:],
        1,
        r"record 1 at offset 0: 29 bytes for a header with 1000 labels; expected at least 4024",
    ),
    "empty": (lambda data: b"", 1, r"record 1 at offset 0: the file ends there"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_reported_with_key_and_offset(tmp_path: Path, damage: str) -> None:
    change, key, message = DAMAGE[damage]
    write_set(tmp_path, {1: image_record(0, 1, b"hello"), 2: image_record(1, 2, b"worldly!")})
    (tmp_path / "train.rec").write_bytes(change((tmp_path / "train.rec").read_bytes()))
    reader = reader_of(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        reader.read(key)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=message):
        reader.scan(np.array([key]))


@pytest.mark.parametrize("offset", [-4, 2, 4, 10**12])
def test_an_offset_at_which_no_record_begins_is_reported(tmp_path: Path, offset: int) -> None:
    write_set(tmp_path, {1: image_record(0, 1, b"data")})
    (tmp_path / "train.idx").write_text(f"1\t{offset}\n")
    with pytest.raises(DataError, match=rf"record 1 at offset {offset}: (found 0x|the file ends there)"):
        reader_of(tmp_path).read(1)
    with pytest.raises(DataError, match=rf"record 1 at offset {offset}: "):
        reader_of(tmp_path).scan(np.array([1]))
