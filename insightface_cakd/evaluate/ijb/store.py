"""Image embeddings in a folder: written row by row so that a stopped run goes on, whole or named `.partial`."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from insightface_cakd.atomic import write_json
from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.lists import Faces, Tree

FORMAT = 1
META, PROGRESS = "meta.json", "progress.json"
PLAIN, MIRRORED = "plain.npy", "mirrored.npy"
# Batches between two notes of how far a run is.
NOTE_EVERY = 16


@dataclass(frozen=True)
class Origin:
    """What embeddings are of; those of anything else are refused.

    Args:
        model: file name.
        model_sha256: of the file.
        network: name of the network of weights, None for ONNX.
        pixels: input scale, a key of `presets.PIXELS`.
        target: IJBB or IJBC.
        faces_sha256: of names and points.
        count: number of faces.
    """

    model: str
    model_sha256: str
    network: str | None
    pixels: str
    target: str
    faces_sha256: str
    count: int


@dataclass(frozen=True)
class Embeddings:
    """Image embeddings, a row a face; rows of corrupt images are NaN.

    Args:
        plain: float (N, D), perhaps mapped from disk.
        mirrored: of the mirror images, None where they were not saved.
        corrupt: row -> what is wrong with the image.
        pixels: input scale, None where it is not known.
    """

    plain: np.ndarray
    mirrored: np.ndarray | None
    corrupt: dict[int, str]
    pixels: str | None = None


def faces_sha256(tree: Tree, faces: Faces) -> str:
    """Return the hash of what is embedded: names and points of a set, in their order."""
    digest = hashlib.sha256(f"{tree.target}\n".encode())
    digest.update("\n".join(faces.names).encode())
    digest.update(np.ascontiguousarray(faces.points).tobytes())
    return digest.hexdigest()


def open_store(folder: Path) -> tuple[dict[str, Any], Embeddings]:
    """Return what a finished folder is of, and its embeddings mapped from disk.

    Raises:
        EvaluationError: it is not finished, not ours, or damaged.
    """
    if partial_folder(folder).is_dir() and not folder.exists():
        raise EvaluationError(
            f"{folder}: its extraction was stopped; expected finished embeddings. Run the extraction again with the model, "
            "it goes on where it stopped."
        )
    meta = _read_json(folder / META, folder)
    try:
        plain, mirrored = (np.load(folder / name, mmap_mode="r") for name in (PLAIN, MIRRORED))
    except (OSError, ValueError) as error:
        raise _damaged(folder, " ".join(str(error).split())) from error
    if len(plain) != meta.get("count") or plain.shape != mirrored.shape:
        raise _damaged(folder, f"{plain.shape} and {mirrored.shape} for {meta.get('count')} faces")
    corrupt = {int(row): fault for row, fault in meta.get("corrupt", {}).items()}
    return meta, Embeddings(plain, mirrored, corrupt, meta.get("pixels"))


def require_origin(folder: Path, meta: dict[str, Any], origin: Origin) -> None:
    """Refuse embeddings of another model, other faces or another input scale.

    Raises:
        EvaluationError: they differ; the line names the first difference.
    """
    for key, value in asdict(origin).items():
        # The same weights under another file name are the same model.
        if key != "model" and meta.get(key) != value:
            raise EvaluationError(
                f"{folder}: embeddings of {meta.get('model')}, their {key} is {str(meta.get(key))[:16]}; expected "
                f"{str(value)[:16]} of {origin.model}. Remove the folder, or choose another --embeddings."
            )


def partial_folder(folder: Path) -> Path:
    """Return where an unfinished extraction to a folder is kept."""
    return folder.with_name(f"{folder.name}.partial")


class Writer:
    """Rows of both views, appended in order; notes from time to time how many are safe.

    Args:
        folder: where the finished embeddings go.
        origin: what they are of.
    """

    def __init__(self, folder: Path, origin: Origin) -> None:
        self.folder, self.origin = folder, origin
        self.partial = partial_folder(folder)
        self.done, self.corrupt, self.width = 0, dict[int, str](), 0
        self._files: list[BinaryIO] = []
        self._since_note = 0
        self._begun = False

    @contextmanager
    def opened(self) -> Iterator["Writer"]:
        """Go on with what is there, and put it in place when all rows are written."""
        try:
            self._begin_or_go_on()
            try:
                yield self
            finally:
                self._note()
        except OSError as error:
            raise EvaluationError(
                f"{self.partial}: cannot be written ({error.strerror}); {self.done} of {self.origin.count} faces are "
                "kept. Free some space and run it again."
            ) from error
        finally:
            self._close()
        if self.done == self.origin.count:
            self._finish()

    def _close(self) -> None:
        """Close the files; a run that did not get to a first row leaves nothing."""
        for file in self._files:
            file.close()
        self._files = []
        if self._begun and not self.done:
            shutil.rmtree(self.partial, ignore_errors=True)

    def append(self, plain: np.ndarray, mirrored: np.ndarray, corrupt: dict[int, str]) -> None:
        """Write the next rows, float32 (B, D) each."""
        if not self._files:
            self._create(plain.shape[1])
        for file, rows in zip(self._files, (plain, mirrored), strict=True):
            file.write(np.ascontiguousarray(rows, np.float32).tobytes())
        self.done += len(plain)
        self.corrupt |= corrupt
        self._since_note += 1
        if self._since_note >= NOTE_EVERY:
            self._note()

    def _begin_or_go_on(self) -> None:
        if not (self.partial / META).is_file():
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir(parents=True)
            self._begun = True
            write_json(self.partial / META, {"format": FORMAT, **asdict(self.origin)})
            return
        require_origin(self.partial, _read_json(self.partial / META, self.partial), self.origin)
        if not (self.partial / PROGRESS).is_file():
            return
        noted = _read_json(self.partial / PROGRESS, self.partial)
        self.done, self.width = noted["done"], noted["width"]
        self.corrupt = {int(row): fault for row, fault in noted["corrupt"].items()}
        for name in (PLAIN, MIRRORED):
            file = (self.partial / name).open("r+b")
            self._files.append(file)
            # What was written after the last note is written again.
            end = len(self._header()) + 4 * self.done * self.width
            if file.seek(0, os.SEEK_END) < end:
                raise _damaged(self.partial, f"{name} is shorter than noted")
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
        """Return the .npy header of all rows, the ones to come included."""
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({self.origin.count}, {self.width}), }}"
        return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117).encode() + b"\n"

    def _note(self) -> None:
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
        if self._files:
            noted = {"done": self.done, "width": self.width, "corrupt": self.corrupt}
            write_json(self.partial / PROGRESS, noted)
        self._since_note = 0

    def _finish(self) -> None:
        write_json(
            self.partial / META,
            {"format": FORMAT, **asdict(self.origin), "width": self.width, "corrupt": self.corrupt},
        )
        (self.partial / PROGRESS).unlink(missing_ok=True)
        os.replace(self.partial, self.folder)


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{path.name} cannot be read") from error
    if not isinstance(content, dict):
        raise _damaged(folder, f"{path.name} holds no table")
    return content


def _damaged(folder: Path, what: str) -> EvaluationError:
    return EvaluationError(
        f"{folder}: {what}; expected embeddings saved by `cakd eval ijb`. Remove the folder and run it again."
    )
