"""A folder of prototypes with whatever content a test needs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from insightface_cakd import __version__
from insightface_cakd.data.prototypes import PrototypesMeta


def write_folder(folder: Path, rows: np.ndarray, hardest: np.ndarray | None = None, **said: Any) -> Path:
    """Write prototypes as they are, each with the next number as its hard other where no lists are given.

    Args:
        folder: to be made.
        rows: (C, D).
        hardest: (C, K).
        said: what the meta says instead.
    """
    classes, width = rows.shape
    hardest = (np.arange(classes)[:, None] + 1) % classes if hardest is None else hardest
    meta = PrototypesMeta("toy", None, "0" * 64, classes, width, hardest.shape[1], 2 * classes, 0, __version__)
    folder.mkdir()
    np.save(folder / "prototypes.npy", rows.astype(np.float32))
    np.save(folder / "hardest.npy", hardest.astype(np.int32))
    np.save(folder / "images.npy", np.full(classes, 2, dtype=np.int64))
    (folder / "meta.json").write_text(json.dumps(asdict(meta) | said))
    return folder
