"""Record files and their indices."""

import struct
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from insightface_cakd.data.inspect import check, info
from insightface_cakd.data.pack import unpack
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.hosts.embedded.landmarks import read_landmarks
from tests.data.record_files import MAGIC, insightface_set
from tests.fuzzing.mutations import EXAMPLES, edited, scratch, survives

with tempfile.TemporaryDirectory() as _folder:
    insightface_set(Path(_folder), [2, 3])
    REC, IDX = (Path(_folder, f"train.{end}").read_bytes() for end in ("rec", "idx"))

_FLOATS = st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, 3.0, 2.0**24, 2.0**31, 3e38, -1.0]))
_FLAG = st.one_of(st.integers(0, 4), st.sampled_from([1 << 29, (1 << 32) - 1]))


def _part(flag: int, cflag: int, label: float, labels: list[float], payload: bytes, longer: int) -> bytes:
    data = struct.pack("<IfQQ", flag, label, 1, 0) + struct.pack(f"<{len(labels)}f", *labels) + payload
    return MAGIC + struct.pack("<I", (cflag << 29 | len(data) + longer) & 0xFFFFFFFF) + data + bytes(-len(data) % 4)


PARTS = st.lists(
    st.builds(
        _part,
        _FLAG,
        st.integers(0, 3),
        _FLOATS,
        st.lists(_FLOATS, max_size=3),
        st.binary(max_size=40),
        st.sampled_from([0, 0, 0, 1, 1 << 28]),
    ),
    max_size=6,
)
LINES = st.lists(
    st.tuples(st.integers(-2, 9) | st.integers(-(1 << 64), 1 << 64), st.integers(-4, 400) | st.integers(0, 1 << 64)),
    max_size=8,
)


def _try(rec: bytes, idx: bytes) -> None:
    with scratch() as folder:
        (folder / "train.rec").write_bytes(rec)
        (folder / "train.idx").write_bytes(idx)

        def read() -> None:
            faces = FaceRecords(folder)
            faces.labels()
            for index in range(min(len(faces), 20)):
                faces[index]

        survives(read)
        survives(lambda: info(folder))
        survives(lambda: check(folder))
        survives(lambda: check(folder, num_classes=10**12))
        survives(lambda: unpack(folder, folder / "out"), folder / "out")


@EXAMPLES
@given(edited([REC]), st.just(IDX) | edited([IDX]))
def test_edited(rec: bytes, idx: bytes) -> None:
    _try(rec, idx)


@EXAMPLES
@given(PARTS, LINES)
def test_built(parts: list[bytes], lines: list[tuple[int, int]]) -> None:
    _try(b"".join(parts), "".join(f"{key}\t{offset}\n" for key, offset in lines).encode())


@EXAMPLES
@given(PARTS)
def test_built_with_a_fitting_index(parts: list[bytes]) -> None:
    starts = [sum(map(len, parts[:number])) for number in range(len(parts))]
    _try(b"".join(parts), "".join(f"{key}\t{offset}\n" for key, offset in enumerate(starts)).encode())


@EXAMPLES
@given(st.binary(max_size=200))
def test_landmarks_beside(data: bytes) -> None:
    with scratch() as folder:
        (folder / "landmarks.npy").write_bytes(data)
        survives(lambda: read_landmarks(folder, 3))
