"""Opens a cache of teacher embeddings and looks images up in it."""

import json
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from insightface_cakd.data.answers import check_answers, looked_at
from insightface_cakd.data.embedding_cache.storage import FLOAT16, STORAGES
from insightface_cakd.data.npy import map_at_random, map_npy
from insightface_cakd.errors import TeacherError, in_one_line
from insightface_cakd.runtime.reading import parse_json

FORMAT = 1
KEYS, ROWS, META = "keys.npy", "rows.npy", "meta.json"
HOW = "`cakd data cache-teacher`"
# As teachers took pixels before it was recorded.
RGB = "rgb, mean 0.5, std 0.5"
# More different images than one and its mirror image, to which a teacher may give the same answer.
ONE_AND_ITS_MIRROR = 2
Stored = TypeVar("Stored", bound=Any)
# Marks a field that earlier versions did not write; its default is then what it was.
ADDED = {"added": True}


@dataclass(frozen=True)
class CacheMeta:
    """The metadata of a cache.

    Args:
        teacher_sha256: sha256 of the teacher's file; None if it came from no file.
        rows: number of stored embeddings, two per image.
        data: sha256 of the sorted hashes; the same images give the same value in any order.
        takes: how the teacher was given the pixels, see `ImageFormat`.
        storage: how an embedding is kept, a key of `STORAGES`.
    """

    teacher: str
    teacher_sha256: str | None
    embedding_size: int
    image_size: int
    images: int
    rows: int
    data: str
    version: str
    takes: str = field(default=RGB, metadata=ADDED)
    storage: str = field(default=FLOAT16, metadata=ADDED)
    format: int = FORMAT


@dataclass(frozen=True, eq=False)
class EmbeddingCache:
    """An opened cache of teacher embeddings.

    All of it stays on disk, where processes share it, until it is read: a cache of 42 million images opens at once.

    Args:
        folder: path of the cache.
        meta: its metadata.
        keys: (K,) int64, ascending and unique.
        rows: (K,) the row of each key's embedding.
        embeddings: (meta.rows, bytes of a row) uint8, of the storage.
    """

    folder: Path
    meta: CacheMeta
    keys: np.ndarray
    rows: np.ndarray
    embeddings: np.ndarray

    def __len__(self) -> int:
        """Return the number of different images, including mirror images."""
        return len(self.keys)

    @classmethod
    def open(cls, folder: str | Path) -> "EmbeddingCache":
        """Open a cache and check that its files belong together.

        Of the tables and the embeddings some entries are looked at, spread evenly.

        Args:
            folder: path of the cache; `~` is the home folder.

        Raises:
            TeacherError: the folder does not exist, is not a cache, or is damaged; or its embeddings are not finite, zero or all the same.
        """
        path = Path(folder).expanduser()
        where = f"teacher cache {path}"
        if not (path / META).is_file():
            raise TeacherError(f"{where}: has no {META}; expected a folder written by {HOW}. Correct its path.")
        try:
            meta = read_meta(path / META, CacheMeta, f"format {FORMAT}")
            keys, rows = (map_npy(path / name).view(np.ndarray) for name in (KEYS, ROWS))
            # Entries here and there are looked at without what lies around them; look-ups then read ahead, and soon have all.
            seen = [map_at_random(path / name, map_npy(path / name)) for name in (KEYS, ROWS)]
            _check_table(seen[0], seen[1], meta)
            embeddings = map_embeddings(path, meta)
        except (OSError, ValueError) as error:
            reason = in_one_line(error)
            raise TeacherError(
                f"{where}: is damaged ({reason}); expected a whole cache. Write it again with {HOW}."
            ) from error
        cache = cls(path, meta, keys, rows, embeddings)
        # Embeddings that say nothing, such as earlier versions wrote.
        check_answers(
            cache.read(seen[1][looked_at(len(keys))]),
            where,
            f"Write it again with {HOW} and another teacher.",
            len(keys) > ONE_AND_ITS_MIRROR,
        )
        return cache

    def find(self, hashes: Tensor) -> np.ndarray:
        """Return the row of each image's embedding, -1 where there is none.

        Shape:
            hashes: (B,), int64, on any device. Rows: (B,).
        """
        wanted = hashes.cpu().numpy()
        places = np.searchsorted(self.keys, wanted)
        places[places == len(self.keys)] = 0
        found = np.where(self.keys[places] == wanted, self.rows[places], -1)
        if (found >= self.meta.rows).any():
            raise TeacherError(
                f"teacher cache {self.folder}: is damaged ({ROWS} points at row {found.max()} of {self.meta.rows}); expected a "
                f"whole cache. Write it again with {HOW}."
            )
        return found

    def read(self, rows: np.ndarray) -> Tensor:
        """Return embeddings by row.

        Shape:
            rows: (B,), integers. Embeddings: (B, D), float32, on the CPU.
        """
        return STORAGES[self.meta.storage].decode(self.embeddings[rows])

    def lookup(self, hashes: Tensor) -> Tensor:
        """Return the embeddings of images, given their hashes.

        Shape:
            hashes: (B,), int64, on any device. Embeddings: (B, D), float32, on the CPU.

        Raises:
            TeacherError: an image is not in the cache.
        """
        rows = self.find(hashes)
        if (rows < 0).any():
            self.refuse(rows)
        return self.read(rows)

    def refuse(self, rows: np.ndarray, altered: bool = False) -> NoReturn:
        """Raise the error for a batch with images missing from the cache.

        Args:
            rows: the result of `find`.
            altered: whether the images have values that no 8-bit image has.

        Raises:
            TeacherError: always; it names the likely causes.
        """
        others = "other data than was cached, another augmentation than the flip, another size or another JPEG decoder"
        changed = "the images were changed after decoding (resize, colour jitter or another augmentation)"
        raise TeacherError(
            f"teacher cache {self.folder}: {int((rows < 0).sum())} of {len(rows)} images of the batch are not among "
            f"its {len(self)}; expected every image or its mirror image. Likely cause: "
            f"{changed if altered else others}. Train on what was cached, or write the cache again with {HOW}."
        )


def read_meta(path: Path, meta: type[Stored], expected: str) -> Stored:
    """Return stored metadata.

    Fields with a default must equal it, unless they were added later: then they may be missing or different.
    """
    content = parse_json(path.read_text(encoding="utf-8"))
    known = {one.name: one.default for one in fields(meta)}
    added = {one.name: one.default for one in fields(meta) if one.metadata == ADDED}
    content = added | content if isinstance(content, dict) else content
    fits = isinstance(content, dict) and set(content) == set(known)
    if not fits or any(default not in (MISSING, content[name]) for name, default in known.items() if name not in added):
        raise ValueError(f"{path.name} is not of {expected}")
    try:
        # In this mode numbers are numbers, and not texts or booleans.
        return TypeAdapter(meta).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"{path.name}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error


def _check_table(keys: np.ndarray, rows: np.ndarray, meta: CacheMeta) -> None:
    """Reject a table that is unsorted or points at missing rows."""
    fits = keys.dtype == np.int64 and rows.dtype.kind == "i" and keys.shape == rows.shape == (keys.size,)
    some = looked_at(max(keys.size - 1, 1))
    if not fits or not 0 < keys.size <= meta.rows or (keys.size > 1 and (keys[some + 1] <= keys[some]).any()):
        raise ValueError(f"{KEYS} and {ROWS} are no table of at most {meta.rows} ascending hashes")
    seen = rows[looked_at(rows.size)]
    if seen.min() < 0 or seen.max() >= meta.rows:
        raise ValueError(f"{ROWS} points at row {seen.max()} of {meta.rows}")


def map_embeddings(folder: Path, meta: CacheMeta) -> np.ndarray:
    """Map the rows of a cache from disk.

    Shape:
        uint8 (meta.rows, bytes of a row).

    Raises:
        OSError: there is no such file.
        ValueError: the storage is unknown, or the file has another size than the rows need.
    """
    if meta.storage not in STORAGES:
        raise ValueError(f"{META}: storage {meta.storage} is none of {', '.join(STORAGES)}")
    form = STORAGES[meta.storage]
    shape = (meta.rows, form.row_bytes(meta.embedding_size))
    found, expected = (folder / form.file).stat().st_size, shape[0] * shape[1]
    if found != expected:
        raise ValueError(f"{form.file} has {found} bytes, {meta.rows} rows of {meta.embedding_size} need {expected}")
    return map_at_random(folder / form.file, np.memmap(folder / form.file, dtype=np.uint8, mode="r", shape=shape))
