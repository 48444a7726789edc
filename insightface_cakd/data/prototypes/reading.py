"""Opens a folder of prototypes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insightface_cakd.data.answers import check_answers, looked_at
from insightface_cakd.data.embedding_cache.reading import ADDED, RGB, read_meta
from insightface_cakd.data.npy import map_npy
from insightface_cakd.errors import TeacherError, in_one_line

FORMAT = 1
PROTOTYPES, HARDEST, IMAGES, META = "prototypes.npy", "hardest.npy", "images.npy", "meta.json"
KIND = "prototypes"
HOW = "`cakd data prototypes`"


@dataclass(frozen=True)
class PrototypesMeta:
    """The metadata of a folder of prototypes.

    Args:
        teacher_sha256: sha256 of the teacher's file; None if it came from no file.
        single: number of identities with one image, whose row is that image's feature.
        takes: how the teacher was given the pixels, see `ImageFormat`.
        labels: whose label is which, see `LabelOrder`; None in files of an earlier version.
    """

    teacher: str
    teacher_sha256: str | None
    data: str
    num_classes: int
    embedding_size: int
    nearest: int
    images: int
    single: int
    version: str
    takes: str = field(default=RGB, metadata=ADDED)
    kind: str = KIND
    format: int = FORMAT
    labels: dict[str, Any] | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True)
class Prototypes:
    """An opened folder of prototypes, whose arrays stay on disk.

    Args:
        rows: (C, D) float32, unit vectors.
        hardest: (C, K) int32, numbers of other identities, the most similar first.
        images: (C,) int64, number of images of each identity.
    """

    folder: Path
    meta: PrototypesMeta
    rows: np.ndarray
    hardest: np.ndarray
    images: np.ndarray

    @classmethod
    def open(cls, folder: str | Path, where: str = "prototypes") -> "Prototypes":
        """Open a folder and check that its files belong together."""
        path = Path(folder).expanduser()
        where = f"{where} {path}"
        if not (path / META).is_file():
            missing = f"has no {META}" if path.is_dir() else "no such folder"
            raise TeacherError(f"{where}: {missing}; expected a folder written by {HOW}. Correct its path.")
        try:
            meta = read_meta(path / META, PrototypesMeta, f"{KIND} of format {FORMAT}")
            arrays = [map_npy(path / name) for name in (PROTOTYPES, HARDEST, IMAGES)]
            _check_arrays(arrays, meta)
        except (OSError, ValueError) as error:
            reason = in_one_line(error)
            raise TeacherError(
                f"{where}: is damaged or another kind of folder ({reason}); expected whole prototypes. Write them again with {HOW}."
            ) from error
        _check_rows(arrays[0], where)
        return cls(path, meta, *arrays)


def _check_rows(rows: np.ndarray, where: str) -> None:
    """Refuse prototypes that say nothing, such as earlier versions wrote."""
    check_answers(
        torch.from_numpy(rows[looked_at(len(rows))]), where, f"Write them again with {HOW} and another teacher."
    )


def _check_arrays(arrays: list[np.ndarray], meta: PrototypesMeta) -> None:
    """Reject arrays that are not as the metadata says, or point at no identity."""
    classes = meta.num_classes
    shapes = [(classes, meta.embedding_size), (classes, meta.nearest), (classes,)]
    kinds = (np.float32, np.int32, np.int64)
    for name, array, shape, kind in zip((PROTOTYPES, HARDEST, IMAGES), arrays, shapes, kinds, strict=True):
        if array.shape != shape or array.dtype != kind:
            raise ValueError(f"{name} holds {array.shape} of {array.dtype}, {META} says {shape} of {np.dtype(kind)}")
    low, high = arrays[1].min(), arrays[1].max()
    if low < 0 or high >= classes:
        raise ValueError(f"{HARDEST} points at identities {low} to {high} of {classes}")
