"""The faces with which a finished run is inspected."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.data.bins import load_bin
from insightface_cakd.distill.snapshot import Origin
from insightface_cakd.errors import DataError
from insightface_cakd.hosts.embedded.dataset import open_faces


def as_images(faces: np.ndarray, device: torch.device) -> Tensor:
    """Return uint8 faces (B, H, W, 3) as input in [-1, 1]."""
    return torch.from_numpy(faces).to(device).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


def verification_sets(origin: Origin, data: Path | None = None) -> list[Path]:
    """Return the run's existing verification sets, also in a moved folder."""
    folder = data or Path(origin.rec)
    return [path for name in origin.val_targets if (path := folder / f"{name}.bin").is_file()]


def run_faces(origin: Origin, count: int, data: Path | None = None) -> np.ndarray:
    """Return some of a run's faces, evenly chosen.

    They are from its first verification set, else from its training images.
    """
    folder = data or Path(origin.rec)
    sets = verification_sets(origin, data)
    if sets:
        images = load_bin(sets[0]).images
        return images[spread(len(images), count)]
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected the data of the run. Pass --data DIR if it was moved.")
    faces = open_faces(str(folder))
    return np.stack([faces[int(i)][0] for i in spread(len(faces), count)])


def spread(count: int, wanted: int) -> np.ndarray:
    """Return at most `wanted` indices below `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(int))
