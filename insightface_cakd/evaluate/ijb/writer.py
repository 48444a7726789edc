"""Writes image embeddings row by row; a stopped run can resume."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.store import (
    FORMAT,
    META,
    MIRRORED,
    PLAIN,
    PROGRESS,
    Origin,
    damaged,
    partial_folder,
    read_table,
    require_origin,
)
from insightface_cakd.runtime.atomic import put, write_json
from insightface_cakd.runtime.folder_lock import only_writer

# Batches between two records of progress.
NOTE_EVERY = 16


class Writer:
    """Appends rows of both views; records at times how many are safe.

    Args:
        folder: where the finished embeddings go.
    """

    def __init__(self, folder: Path, origin: Origin) -> None:
        self.folder, self.origin = folder, origin
        self.partial = partial_folder(folder)
        self.done, self.corrupt, self.width = 0, dict[int, str](), 0
        self._files: list[BinaryIO] = []
        self._batches = 0
        self._begun = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Resume at the rows already there; finish the folder after the last."""
        with only_writer(self.folder, EvaluationError, moved=True), self._written():
            yield

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            self._begin_or_go_on()
            try:
                yield
            finally:
                self._note()
            if self.done == self.origin.count:
                self._finish()
        except OSError as error:
            raise EvaluationError(
                f"{self.partial}: cannot be written ({error.strerror}); {self.done} of {self.origin.count} faces are "
                "kept. Free some space and run it again."
            ) from error
        finally:
            self._close()
            if self._begun and not self.done:
                # A run that wrote no row leaves nothing behind.
                shutil.rmtree(self.partial, ignore_errors=True)

    def _finish(self) -> None:
        self._close()
        finished = {"format": FORMAT, **asdict(self.origin), "width": self.width, "corrupt": self.corrupt}
        write_json(self.partial / META, finished)
        (self.partial / PROGRESS).unlink(missing_ok=True)
        put(self.partial, self.folder)

    def _close(self) -> None:
        for file in self._files:
            file.close()

    def append(self, plain: np.ndarray, mirrored: np.ndarray, corrupt: dict[int, str]) -> None:
        """Write the next rows, (B, D) of both views.

        Args:
            corrupt: row in the set -> what is wrong with the image.
        """
        if not self._files:
            self._create(plain.shape[1])
        for file, rows in zip(self._files, (plain, mirrored), strict=True):
            file.write(np.ascontiguousarray(rows, np.float32).tobytes())
        self.done += len(plain)
        self.corrupt |= corrupt
        self._batches += 1
        if self._batches % NOTE_EVERY == 0:
            self._note()

    def _begin_or_go_on(self) -> None:
        if not (self.partial / META).is_file():
            shutil.rmtree(self.partial, ignore_errors=True)
            self._begun = True
            self.partial.mkdir(parents=True)
            write_json(self.partial / META, {"format": FORMAT, **asdict(self.origin)})
            return
        require_origin(self.partial, read_table(self.partial / META, self.partial), self.origin)
        if not (self.partial / PROGRESS).is_file():
            return
        noted = read_table(self.partial / PROGRESS, self.partial)
        self.done, self.width = noted["done"], noted["width"]
        self.corrupt = {int(row): fault for row, fault in noted["corrupt"].items()}
        for name in (PLAIN, MIRRORED):
            file = (self.partial / name).open("r+b")
            self._files.append(file)
            # Rows written after the last record are written again.
            end = len(self._header()) + 4 * self.done * self.width
            if file.seek(0, os.SEEK_END) < end:
                raise damaged(self.partial, f"{name} is shorter than noted")
            file.seek(end)
            file.truncate()

    def _create(self, width: int) -> None:
        self.width = width
        needed, free = 8 * self.origin.count * width, shutil.disk_usage(self.partial).free
        if free < needed:
            raise EvaluationError(
                f"{self.folder}: {needed >> 20} MiB are needed, {free >> 20} MiB are free. Free some space, or choose another "
                "--embeddings."
            )
        for name in (PLAIN, MIRRORED):
            self._files.append((self.partial / name).open("wb"))
            self._files[-1].write(self._header())

    def _header(self) -> bytes:
        """Return the .npy header for all rows, including those still to come."""
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({self.origin.count}, {self.width}), }}"
        return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117).encode() + b"\n"

    def _note(self) -> None:
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
        if self._files:
            noted = {"done": self.done, "width": self.width, "corrupt": self.corrupt}
            write_json(self.partial / PROGRESS, noted)
