"""Writes the folder of embeddings from the blocks of an extraction."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.store import FORMAT, META, MIRRORED, PLAIN, Origin
from insightface_cakd.runtime.atomic import writing

Block = Mapping[str, np.ndarray]


def as_block(parts: Sequence[tuple[np.ndarray, np.ndarray]], corrupt: Mapping[int, str]) -> Block:
    """Return embeddings as the arrays of a job's block.

    Args:
        parts: of plain and mirrored images, (B, D) each, in order.
        corrupt: row in the set -> what is wrong with the image.
    """
    plain, mirrored = (np.concatenate(views).astype(np.float32, copy=False) for views in zip(*parts, strict=True))
    rows = np.array(list(corrupt), np.int64)
    return {"plain": plain, "mirrored": mirrored, "corrupt": rows, "faults": np.array([*corrupt.values(), ""])}


def require_room(folder: Path, count: int, width: int) -> None:
    """Check that a disk has room for the blocks and the whole.

    Args:
        folder: where they go.
        count: number of faces.
        width: D.
    """
    needed, free = 2 * 8 * count * width, shutil.disk_usage(folder).free
    if free < needed:
        raise EvaluationError(
            f"{folder}: {needed >> 20} MiB are needed, {free >> 20} MiB are free. Free some space, or choose another --embeddings."
        )


def save_store(folder: Path, origin: Origin, blocks: Iterable[Block]) -> None:
    """Write the folder that `open_store` reads, completely or not at all.

    Args:
        folder: of the finished embeddings.
        origin: what they were computed from.
        blocks: of `as_block`, in order.
    """
    corrupt: dict[int, str] = {}
    width = 0
    with writing(folder, EvaluationError) as temporary:
        temporary.mkdir()
        with (temporary / PLAIN).open("wb") as plain, (temporary / MIRRORED).open("wb") as mirrored:
            for block in blocks:
                if not width:
                    width = block["plain"].shape[1]
                    header = {"descr": "<f4", "fortran_order": False, "shape": (origin.count, width)}
                    for file in (plain, mirrored):
                        np.lib.format.write_array_header_1_0(file, header)
                plain.write(block["plain"].tobytes())
                mirrored.write(block["mirrored"].tobytes())
                corrupt |= dict(zip(block["corrupt"].tolist(), block["faults"].tolist(), strict=False))
        meta = {"format": FORMAT, **asdict(origin), "width": width, "corrupt": corrupt}
        (temporary / META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
