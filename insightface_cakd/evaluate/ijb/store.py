"""Saved image embeddings: their origin, and how to read them."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insightface_cakd.data.npy import map_npy, read_member
from insightface_cakd.errors import EvaluationError, in_one_line
from insightface_cakd.evaluate.ijb.lists import Faces, Tree
from insightface_cakd.runtime.long_job import has_begun, require_begun_by
from insightface_cakd.runtime.reading import parse_json, reading

FORMAT = 1
META = "meta.json"
PLAIN, MIRRORED = "plain.npy", "mirrored.npy"
FILES = (".npy", ".npz")
# Bytes of an embedding of another program, of at most 4096 numbers, and of the header before them.
WIDEST, HEADER = 4096 * 4, 4096


@dataclass(frozen=True)
class Origin:
    """What embeddings were computed from; those of another origin are refused.

    Args:
        network: name of the network of weights, None for ONNX.
        pixels: input scale, a key of `presets.PIXELS`.
    """

    model: str
    model_sha256: str
    network: str | None
    pixels: str
    target: str
    faces_sha256: str
    count: int

    @property
    def decisive(self) -> dict[str, Any]:
        """What the embeddings depend on.

        The same weights under another file name are the same model.
        """
        return {key: value for key, value in asdict(self).items() if key != "model"}


@dataclass(frozen=True)
class Embeddings:
    """Image embeddings, one row per face; rows of corrupt images are NaN.

    Args:
        plain: float (N, D), possibly mapped from disk.
        mirrored: of the mirror images, None where they were not saved.
        corrupt: row -> what is wrong with the image.
        pixels: input scale, None where it is not known.
    """

    plain: np.ndarray
    mirrored: np.ndarray | None
    corrupt: dict[int, str]
    pixels: str | None = None


def faces_sha256(tree: Tree, faces: Faces) -> str:
    """Return a hash of a set's names and points, in order."""
    digest = hashlib.sha256(f"{tree.target}\n".encode())
    digest.update("\n".join(faces.names).encode())
    digest.update(np.ascontiguousarray(faces.points).tobytes())
    return digest.hexdigest()


def open_store(folder: Path) -> tuple[dict[str, Any], Embeddings]:
    """Return a finished folder's metadata, and its embeddings, mapped from disk."""
    if has_begun(folder) and not folder.exists():
        raise EvaluationError(
            f"{folder}: its extraction was stopped; expected finished embeddings. Run the extraction again with the model, "
            "it goes on where it stopped."
        )
    if not (folder / META).is_file():
        raise EvaluationError(
            f"{folder}: holds no {META}; expected embeddings saved by `cakd eval ijb`, or a path where nothing is yet. "
            "Choose another one."
        )
    meta = read_table(folder / META, folder)
    try:
        plain, mirrored = (map_npy(folder / name) for name in (PLAIN, MIRRORED))
    except (OSError, ValueError) as error:
        raise damaged(folder, in_one_line(error)) from error
    if plain.shape != mirrored.shape or plain.ndim != 2 or len(plain) != meta.get("count") or not plain.shape[1]:
        raise damaged(folder, f"{plain.shape} and {mirrored.shape} for {meta.get('count')} faces")
    corrupt = {int(row): fault for row, fault in meta.get("corrupt", {}).items()}
    return meta, Embeddings(plain, mirrored, corrupt, meta.get("pixels"))


def require_origin(folder: Path, meta: dict[str, Any], origin: Origin) -> None:
    """Check that embeddings have the expected model, faces and input scale."""
    for key, value in origin.decisive.items():
        if meta.get(key) != value:
            raise EvaluationError(
                f"{folder}: embeddings of {meta.get('model')}, their {key} is {str(meta.get(key))[:16]}; expected "
                f"{str(value)[:16]} of {origin.model}. Remove the folder, or choose another --embeddings."
            )


def require_place(folder: Path, origin: Origin) -> Embeddings | None:
    """Check a folder's origin, and return its embeddings if they are finished.

    Returns None where there are none, or where their extraction was stopped.
    """
    if folder.exists():
        meta, found = open_store(folder)
        require_origin(folder, meta, origin)
        return found
    require_begun_by(folder, origin.decisive, EvaluationError)
    return None


def read_table(path: Path, folder: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a folder of embeddings."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(folder, f"{path.name} cannot be read") from error
    if not isinstance(content, dict):
        raise damaged(folder, f"{path.name} holds no table")
    return content


def damaged(folder: Path, what: str) -> EvaluationError:
    """Return the error for a damaged folder of embeddings."""
    return EvaluationError(
        f"{folder}: {what}; expected embeddings saved by `cakd eval ijb`. Remove the folder and run it again."
    )


def is_saved(path: Path) -> bool:
    """Return whether a path names embeddings rather than a model.

    Embeddings are .npy and .npz files, folders with a `meta.json`, and folders whose extraction was stopped.
    """
    stopped = has_begun(path) and not path.exists()
    return stopped or (path / META).is_file() or (path.suffix.lower() in FILES and not path.is_dir())


def open_saved(path: Path, tree: Tree, faces: Faces) -> Embeddings:
    """Return saved embeddings of given faces.

    Args:
        path: a folder written by `extract`, an .npz with `embs` and perhaps `embs_f`, or an .npy (N, D) of plain images.
    """
    if path.suffix.lower() not in FILES or path.is_dir():
        meta, found = open_store(path)
        if meta.get("faces_sha256") != faces_sha256(tree, faces):
            raise EvaluationError(
                f"{path}: embeddings of other faces or other landmarks than {tree.folder} lists. Extract them again."
            )
        return found
    found = _open_file(path, len(faces.names))
    for rows in (found.plain, found.mirrored):
        if rows is not None and (
            rows.ndim != 2
            or len(rows) != len(faces.names)
            or rows.dtype.kind != "f"
            or rows.shape != found.plain.shape
            or not rows.shape[1]
        ):
            raise EvaluationError(
                f"{path}: holds {rows.dtype} {rows.shape}; expected floats ({len(faces.names)}, D), a row for each face of "
                f"{tree.meta('name_5pts_score.txt').name}. Is it of this set?"
            )
    return found


def _open_file(path: Path, count: int) -> Embeddings:
    # A damaged archive raises BadZipFile, EOFError or ValueError.
    with reading(path, EvaluationError, "embeddings. Correct the path.", Exception):
        if path.suffix.lower() == ".npy":
            return Embeddings(map_npy(path), None, {})
        with np.load(path) as archive:
            plain, mirrored = (read_member(archive, name, count * WIDEST + HEADER) for name in ("embs", "embs_f"))
        if plain is None:
            raise EvaluationError(
                f"{path}: holds no `embs`; expected what ijb_evals saves with -E. Save it with -E, or give the model."
            )
        return Embeddings(plain, mirrored if mirrored is not None and len(mirrored) else None, {})
