"""Reads saved embeddings."""

from pathlib import Path

import numpy as np

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.lists import Faces, Tree
from insightface_cakd.evaluate.ijb.store import META, Embeddings, faces_sha256, open_store, partial_folder
from insightface_cakd.runtime.reading import reading

FILES = (".npy", ".npz")


def is_saved(path: Path) -> bool:
    """Return whether a path names embeddings rather than a model.

    Embeddings are .npy and .npz files, folders with a `meta.json`, and folders whose extraction was stopped.
    """
    stopped = partial_folder(path).is_dir() and not path.exists()
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
    found = _open_file(path)
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


def _open_file(path: Path) -> Embeddings:
    # A damaged archive raises BadZipFile, EOFError or ValueError.
    with reading(path, EvaluationError, "embeddings. Correct the path.", Exception):
        if path.suffix.lower() == ".npy":
            return Embeddings(np.load(path, mmap_mode="r"), None, {})
        with np.load(path) as archive:
            if "embs" not in archive:
                raise EvaluationError(
                    f"{path}: holds no `embs`; expected what ijb_evals saves with -E. Save it with -E, or give the model."
                )
            mirrored = archive["embs_f"] if "embs_f" in archive and len(archive["embs_f"]) else None
            return Embeddings(archive["embs"], mirrored, {})
