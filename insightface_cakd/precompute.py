"""Runs a recipe's teacher once over a record file, so that training needs no teacher."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from insightface_cakd import seam
from insightface_cakd.data.embedding_cache import CacheMeta, write_cache
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.devices import choose_device
from insightface_cakd.recipe import load_recipe

BATCH = 64


def cache_teacher(
    recipe: str,
    records: Path,
    out: Path,
    teacher: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CacheMeta:
    """Write the teacher's embedding of every image of a record file, and of its mirror image; without prompts, which change.

    Args:
        recipe: name or path; its teacher is run, its losses are not looked at.
        records: folder with train.rec.
        out: folder to create.
        teacher: replaces the recipe's `teacher.weights`.
        progress: called with images done and in all.

    Raises:
        CAKDError: recipe, teacher or data cannot be used, or `out` exists.
    """
    loaded = load_recipe(recipe, teacher)
    loaded.teacher.prompts = None
    faces = FaceRecords(records)
    taught, _ = seam.make_teacher(train_v2, loaded, choose_device(None), checks=False)
    return write_cache(taught, _batches(faces), out, progress, total=len(faces))


def _batches(faces: FaceRecords) -> Iterator[np.ndarray]:
    """Yield uint8 (B, 112, 112, 3) in the order of the file."""
    for start in range(0, len(faces), BATCH):
        yield np.stack([faces[index][0] for index in range(start, min(start + BATCH, len(faces)))])
