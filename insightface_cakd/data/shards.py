"""Several record folders as one training set, without a copy."""

import os
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from insightface_cakd.data.aligned_faces import EncodedFaces
from insightface_cakd.data.folders import writing
from insightface_cakd.data.records import FLOAT32_EXACT, FaceRecords
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.reading import read_text
from insightface_cakd.runtime.strict_yaml import YAMLError, read_yaml

SHARDS = "shards.yaml"
Labels = Literal["own", "shared"]
_EXPECTED = "`labels: own` or `labels: shared`, and `folders:` with a list. Write it with `cakd data join`."


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    labels: Labels
    folders: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


class ShardedFaces(EncodedFaces):
    """The faces of several record folders, one after the other.

    `shards.yaml` names the folders, relative to its own, and says what their labels mean. `own`: each folder counts its people from 0, and
    they are others than those before; label k of a folder is k plus the people of all folders before. `shared`: one numbering was cut into
    files, as those of WebFace42M; labels stay.

    Args:
        folder: holds `shards.yaml`.

    Raises:
        DataError: `shards.yaml` is missing or wrong, a folder is named twice, or as `FaceRecords`.
    """

    # Records have none.
    names: Sequence[str] | None = None

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder, SHARDS)
        spec = _read(self.path)
        self.labelling = spec.labels
        folders = [Path(folder, name) for name in spec.folders]
        _require_different(folders, self.path)
        self.shards = [FaceRecords(shard) for shard in folders]
        # Images up to and with each shard.
        self._ends = list(accumulate(map(len, self.shards)))

    def __len__(self) -> int:
        return self._ends[-1]

    def stored(self, index: int) -> tuple[int, bytes]:
        """Return the label of an item, and its encoded image.

        Args:
            index: of the item.
        """
        shard, inside = self._find(index)
        label, image = self.shards[shard].stored(inside)
        return label + self._first_labels[shard], image

    def where(self, index: int) -> str:
        """Return what names an item in an error: file, key and offset.

        Args:
            index: of the item.
        """
        shard, inside = self._find(index)
        return self.shards[shard].where(inside)

    def _find(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        shard = bisect_right(self._ends, index)
        return shard, index - (self._ends[shard - 1] if shard else 0)

    @cached_property
    def _first_labels(self) -> list[int]:
        """What is added to the labels of each shard."""
        if self.labelling == "shared":
            return [0] * len(self.shards)
        return list(accumulate((_people(shard) for shard in self.shards[:-1]), initial=0))

    def labels(self) -> np.ndarray:
        """Return the label of every item, int64 (len,), from the headers.

        Raises:
            DataError: as `FaceRecords.labels`.
        """
        parts = zip(self.shards, self._first_labels, strict=True)
        return np.concatenate([shard.labels() + first for shard, first in parts])

    @property
    def stated_classes(self) -> int | None:
        """The number of people where headers alone tell it."""
        stated = [shard.stated_classes for shard in self.shards]
        return None if self.labelling == "shared" or None in stated else self.num_classes

    @cached_property
    def num_classes(self) -> int:
        """The number of people.

        Of shared labels it is the largest plus one, as the header of a part counts the part's.
        """
        if self.labelling == "shared":
            return int(self.labels().max()) + 1
        return self._first_labels[-1] + _people(self.shards[-1])


def _people(shard: FaceRecords) -> int:
    """Return the number of people of a shard with labels of its own."""
    highest = int(shard.labels().max())
    if highest >= shard.num_classes:
        raise DataError(
            f"{shard.reader.path}: labels up to {highest}, and the header counts {shard.num_classes} people; expected labels below, as "
            "they are its own. Say `labels: shared` if one numbering was cut into files, or pack it again."
        )
    return shard.num_classes


def _read(path: Path) -> _Spec:
    text = read_text(path, DataError, f"a file with {_EXPECTED}")
    try:
        return _Spec.model_validate(read_yaml(text))
    except YAMLError as error:
        raise DataError(f"{path}: {error}; expected {_EXPECTED}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {place}: {first['msg']}; expected {_EXPECTED}") from error


def _require_different(folders: Sequence[Path], where: str | os.PathLike[str]) -> None:
    found: dict[Path, Path] = {}
    for folder in folders:
        if (before := found.setdefault(folder.resolve(), folder)) is not folder:
            raise DataError(
                f"{where}: names {before} and {folder}, the same folder; expected each once, as every image counts once. Take one out."
            )


def join(folders: Sequence[Path], out: Path, labels: Labels) -> ShardedFaces:
    """Write `shards.yaml`; no image is copied.

    Args:
        folders: each with train.rec and train.idx.
        out: the folder to create; verification sets may be put beside the file.
        labels: what the labels mean, see `ShardedFaces`.

    Raises:
        DataError: `out` exists, or as `ShardedFaces`; or there are more people than float32 labels can tell.
    """
    with writing(out) as temporary:
        temporary.mkdir()
        content = {"labels": labels, "folders": [str(folder.absolute()) for folder in folders]}
        (temporary / SHARDS).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        people = ShardedFaces(temporary).num_classes
        if people > FLOAT32_EXACT:
            raise DataError(f"{out}: {people} people; expected at most {FLOAT32_EXACT}, as labels are. Use fewer.")
    return ShardedFaces(out)
