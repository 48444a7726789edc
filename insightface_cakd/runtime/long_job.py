"""Long work in blocks: shared by ranks, kept when it is killed.

A folder beside the target holds `origin.json` and one file for each finished block. It is removed when the job ends well.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insightface_cakd.errors import CAKDError, RunError
from insightface_cakd.runtime.atomic import replacing, write_json
from insightface_cakd.runtime.folder_lock import only_writer, unwritable
from insightface_cakd.runtime.made_folders import made_folders
from insightface_cakd.runtime.ranks import barrier, first_decides, rank, world_size
from insightface_cakd.runtime.reading import parse_json

ORIGIN = "origin.json"


@dataclass(frozen=True)
class Phase:
    """A part of a job: items cut into blocks.

    Args:
        name: of its files.
        items: how many there are.
        size: items of a block; the last may have fewer.
    """

    name: str
    items: int
    size: int

    @property
    def blocks(self) -> range:
        """The numbers of its blocks."""
        return range(-(-self.items // self.size))

    def span(self, number: int) -> range:
        """Return the items of a block."""
        return range(number * self.size, min((number + 1) * self.size, self.items))


class LongJob:
    """The blocks of a job, and who makes which.

    They are numbered from 0 within each phase. What a block holds must depend on its number alone: then the result has the
    same bytes for any number of ranks, and for any number of kills.

    Args:
        folder: holds a file for each finished block.
        kind: of the errors.
    """

    def __init__(self, folder: Path, kind: type[CAKDError]) -> None:
        self.folder = folder
        self.kind = kind

    def mine(self, phase: Phase) -> dict[int, range]:
        """Return the items of this rank's missing blocks, in order.

        All ranks call it before any of them saves a block of the phase.
        """
        there = self._there(phase)
        missing = [number for number in phase.blocks if number not in there]
        # No rank may save a block before all have seen the same ones.
        barrier()
        return {number: phase.span(number) for number in missing[rank() :: world_size()]}

    def done(self, phase: Phase) -> int:
        """Return how many items all ranks have finished.

        A smaller last block counts as a whole one.
        """
        return len(self._there(phase)) * phase.size

    def save(self, phase: Phase, number: int, block: Mapping[str, np.ndarray]) -> None:
        """Write a finished block, completely or not at all.

        Args:
            phase: that it belongs to.
            number: of the block.
            block: its arrays by name, without objects.

        Raises:
            CAKDError: the disk is full, or cannot be written.
        """
        try:
            with replacing(self._path(phase, number)) as temporary, temporary.open("wb") as file:
                np.savez(file, **block)  # type: ignore[arg-type]
        except OSError as error:
            raise self.kind(
                f"{self.folder}: {unwritable(error)} The finished blocks are kept, and the next call goes on."
            ) from error

    def blocks(self, phase: Phase) -> Iterator[dict[str, np.ndarray]]:
        """Return the arrays of all blocks of a phase, in order.

        All ranks call it, and wait for each other here; those that need no block leave the iterator alone.

        Raises:
            RunError: while they are read, a block is damaged or missing.
        """
        barrier()
        return (self._read(self._path(phase, number)) for number in phase.blocks)

    def _read(self, path: Path) -> dict[str, np.ndarray]:
        try:
            with np.load(path) as arrays:
                return dict(arrays)
        # A damaged archive raises BadZipFile, EOFError, OSError or ValueError.
        except Exception as error:
            raise RunError(
                f"{path}: cannot be read; expected a finished block. Remove it and run the job again."
            ) from error

    def _there(self, phase: Phase) -> set[int]:
        return {int(path.stem.rpartition("-")[2]) for path in self.folder.glob(f"{phase.name}-*.npz")}

    def _path(self, phase: Phase, number: int) -> Path:
        return self.folder / f"{phase.name}-{number:07d}.npz"


@contextmanager
def long_job(target: Path, origin: Mapping[str, Any] | None, kind: type[CAKDError]) -> Iterator[LongJob]:
    """Open a job, or go on with one that was stopped.

    All ranks enter together. The folder is `target` with `.partial` after its name. It is removed when the job ends well, or
    refuses what it was given. If it is stopped otherwise, killed or by a full disk, its finished blocks stay, and the next call
    goes on.

    Args:
        target: what the job makes.
        origin: all that its result depends on; a stopped job of another origin is refused. None keeps nothing for another call.
        kind: of the errors.

    Raises:
        CAKDError: what is there is of another origin; or another run writes the target.
    """
    folder = _folder_of(target)
    first = rank() == 0
    with (
        only_writer(target, kind, moved=True) if first else nullcontext(),
        made_folders(target.parent) if first else nullcontext(),
    ):
        with first_decides():
            if first:
                _begin_or_go_on(target, origin, kind)
        job = LongJob(folder, kind)
        try:
            yield job
            barrier()
        except BaseException as error:
            if first and (origin is None or _refuses(error) or not any(folder.glob("*.npz"))):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if first:
            shutil.rmtree(folder, ignore_errors=True)


def _refuses(error: BaseException) -> bool:
    """Return whether the same job would end with this error again."""
    return isinstance(error, CAKDError) and not isinstance(error, RunError) and not isinstance(error.__cause__, OSError)


def has_begun(target: Path) -> bool:
    """Return whether a job for a target was stopped, or runs."""
    return _folder_of(target).is_dir()


def require_begun_by(target: Path, origin: Mapping[str, Any], kind: type[CAKDError]) -> None:
    """Check the origin of a stopped job, where there is one.

    Args:
        target: what the job makes.
        origin: all that its result depends on.
        kind: of the error.
    """
    folder = _folder_of(target)
    if not (folder / ORIGIN).is_file():
        _require_nothing_else(folder, kind)
        return
    try:
        noted = parse_json((folder / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise kind(f"{folder}: {ORIGIN} cannot be read; expected that of a stopped job. Remove the folder.") from error
    wanted = json.loads(json.dumps(dict(origin)))
    if noted != wanted:
        other = next((key for key in wanted if not isinstance(noted, dict) or noted.get(key) != wanted[key]), "content")
        found = noted.get(other) if isinstance(noted, dict) else None
        raise kind(
            f"{folder}: holds a stopped job whose {other} is {found!r}; expected {wanted.get(other)!r}. Run that one to its end, remove "
            "the folder, or choose another place."
        )


def _require_nothing_else(folder: Path, kind: type[CAKDError]) -> None:
    """Refuse a folder that no job has begun, such as a user's own."""
    if folder.is_dir() and not (folder / ORIGIN).is_file() and any(folder.iterdir()):
        raise kind(
            f"{folder}: is in the way of a job, and holds no {ORIGIN}; expected a stopped job. Move it, or choose another place."
        )


def _folder_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial")


def _begin_or_go_on(target: Path, origin: Mapping[str, Any] | None, kind: type[CAKDError]) -> None:
    """Make the folder, or check that it is of the same origin."""
    folder = _folder_of(target)
    _require_nothing_else(folder, kind)
    if origin is not None and (folder / ORIGIN).is_file():
        require_begun_by(target, origin, kind)
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise kind(f"{folder}: {unwritable(error)}") from error
    write_json(folder / ORIGIN, dict(origin or {}), kind)
