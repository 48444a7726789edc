"""Caches of a teacher, prototypes, and embeddings of other programs: numpy's files and tables beside them."""

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from insightface_cakd.data.embedding_cache import EmbeddingCache
from insightface_cakd.data.prototypes import Prototypes
from insightface_cakd.evaluate.ijb.store import open_saved, open_store
from tests.fuzzing.mutations import EXAMPLES, edited, scratch, survives
from tests.prototype_files import write_folder


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


META = {
    "teacher": "t",
    "teacher_sha256": None,
    "embedding_size": 8,
    "image_size": 112,
    "images": 2,
    "rows": 4,
    "data": "0",
    "version": "1",
    "format": 1,
}
CACHE = {
    "meta.json": json.dumps(META).encode(),
    "keys.npy": _npy(np.arange(4)),
    "rows.npy": _npy(np.arange(4)),
    "embeddings.f16": bytes(4 * 8 * 2),
}
with tempfile.TemporaryDirectory() as _folder:
    write_folder(Path(_folder, "p"), np.eye(3, 8))
    PROTOTYPES = {path.name: path.read_bytes() for path in Path(_folder, "p").iterdir()}
STORE = {
    "meta.json": json.dumps({"count": 3, "corrupt": {}, "pixels": "a", "faces_sha256": "0"}).encode(),
    "plain.npy": _npy(np.eye(3, 8, dtype=np.float32)),
    "mirrored.npy": _npy(np.eye(3, 8, dtype=np.float32)),
}
_SIDES = st.one_of(st.integers(-3, 9), st.sampled_from([1 << 31, 1 << 62, 1 << 63, 10**30, True, 1.5, None]))
_TYPES = st.sampled_from(["<f4", "<f2", "<i8", ">i4", "|O", "|V0", "<U9999999", "|b1", "x", [("a", "<f4")], 3])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@st.composite
def arrays(draw: st.DrawFn) -> bytes:
    """Draw a .npy whose header says anything."""
    said = {
        "descr": draw(_TYPES),
        "fortran_order": draw(st.sampled_from([False, True, 2])),
        "shape": tuple(draw(st.lists(_SIDES, max_size=3))),
    }
    header = f"{said}".ljust(117) + "\n"
    version = draw(st.sampled_from([1, 2, 3, 9]))
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + len(header).to_bytes(2 if version == 1 else 4, "little")
        + header.encode()
        + draw(st.binary(max_size=80))
    )


@st.composite
def tables(draw: st.DrawFn, valid: bytes) -> bytes:
    """Draw a table with the keys of a valid one and other values, or any other."""
    if draw(st.booleans()):
        return draw(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.just(b"[" * 100_000)))
    content = json.loads(valid)
    for key in draw(st.lists(st.sampled_from(sorted(content)), min_size=1, max_size=3)):
        content[key] = draw(JSON | _SIDES | st.just({"x": "a"}) | st.just({"1": 2}))
    return json.dumps(content).encode()


@st.composite
def folders(draw: st.DrawFn, valid: Mapping[str, bytes]) -> dict[str, bytes]:
    """Draw a folder with one or two files edited, built anew or left out."""
    files = dict(valid)
    for name in draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2)):
        kinds = [
            edited([valid[name]]),
            st.binary(max_size=200),
            arrays(),
            *([tables(valid[name])] * 3 if name.endswith(".json") else []),
        ]
        files[name] = draw(st.one_of(kinds))
    return files


def _try(files: Mapping[str, bytes], read: Callable[[Path], Any]) -> None:
    with scratch() as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        survives(lambda: read(folder))


@EXAMPLES
@given(folders(CACHE))
def test_caches(files: dict[str, bytes]) -> None:
    _try(files, EmbeddingCache.open)


@EXAMPLES
@given(folders(PROTOTYPES))
def test_prototypes(files: dict[str, bytes]) -> None:
    _try(files, Prototypes.open)


@EXAMPLES
@given(folders(STORE))
def test_stores(files: dict[str, bytes]) -> None:
    _try(files, open_store)


@EXAMPLES
@given(
    st.sampled_from([".npy", ".npz"]),
    st.one_of(
        arrays(), st.binary(max_size=200), edited([STORE["plain.npy"], _npz(embs=np.eye(3, 8), embs_f=np.eye(3, 8))])
    ),
)
def test_embeddings_of_other_programs(suffix: str, data: bytes) -> None:
    tree: Any = SimpleNamespace(folder=Path("ijb"), meta=Path)
    faces: Any = SimpleNamespace(names=["a", "b", "c"])
    _try({f"embs{suffix}": data}, lambda folder: open_saved(folder / f"embs{suffix}", tree, faces))


@EXAMPLES
@given(arrays())
def test_members_of_an_archive(data: bytes) -> None:
    tree: Any = SimpleNamespace(folder=Path("ijb"), meta=Path)
    faces: Any = SimpleNamespace(names=["a", "b", "c"])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("embs.npy", data)
    _try({"embs.npz": file.getvalue()}, lambda folder: open_saved(folder / "embs.npz", tree, faces))
