"""Writes changed copies of a training set, for a cache."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insightface_cakd.data.folders import require_new_folder, writing
from insightface_cakd.data.images import FACE_SIZE, encode_jpeg
from insightface_cakd.data.record import Record
from insightface_cakd.data.recordio import RecordWriter
from insightface_cakd.data.records import INDEX, RECORDS
from insightface_cakd.errors import RecipeError
from insightface_cakd.hosts.embedded.dataset import open_faces
from insightface_cakd.recipe import load_recipe
from insightface_cakd.recipe.named import ViewsSpec
from insightface_cakd.runtime.progress import Progress
from insightface_cakd.views.sides import Sides
from insightface_cakd.views.view import as_bytes

BATCH = 64


def augment(
    recipe: str,
    data: Path,
    out: Path,
    copies: int,
    settings: Sequence[str] = (),
    seed: int = 2048,
    quality: int = 95,
    progress: Progress | None = None,
) -> int:
    """Write a training set and copies of it, changed by views.

    What both sides see alike, a recipe's `views: both`, is applied once and stored; then a teacher's embeddings of the result can be
    stored too. Records are in im2rec style: first every image as it is, then each copy of the set in an order of its own, so that views
    which mix images mix those of different people. Labels stay.

    Args:
        recipe: name or path; only its `views: both` are read.
        data: folder with train.rec, or one folder of aligned faces per person.
        out: the folder to create, with train.rec, train.idx and property.
        copies: changed ones of each image, beside the image itself.
        settings: `KEY=VALUE` changes to the recipe.
        seed: of everything that is drawn.
        quality: JPEG quality, 1 to 100.
        progress: called with (images done, images in all).

    Returns:
        The number of images written.

    Raises:
        RecipeError: the recipe has no view of both sides, or one of a single side, which copies cannot show.
        DataError: an image cannot be read, `out` exists, or the disk is full; nothing is left behind.
    """
    sides = _alike(load_recipe(recipe, settings).views, recipe, seed)
    require_new_folder(out, data)
    faces = open_faces(str(data))
    total = len(faces) * (1 + copies)
    with writing(out) as temporary:
        temporary.mkdir()
        with RecordWriter(temporary / RECORDS, temporary / INDEX) as writer:
            for key, (label, payload) in enumerate(_images(faces, sides, copies, quality)):
                writer.write(key, Record(0, (label,), key, 0, payload))
                if progress:
                    progress(key + 1, total)
        (temporary / "property").write_text(
            f"{faces.num_classes},{FACE_SIZE},{FACE_SIZE}\n", encoding="ascii", newline="\n"
        )
    return total


def _alike(views: ViewsSpec, recipe: str, seed: int) -> Sides:
    """Return the views of both sides, of which there are some, and none of one side."""
    sides = Sides.of(views, seed)
    if sides is None or not sides.both:
        raise RecipeError(
            f"recipe {recipe}: has no views.both; expected what changes the copies. Add, for example, views: {{both: [affine, colour]}}."
        )
    if sides.student or sides.teacher:
        raise RecipeError(
            f"recipe {recipe}: has views of one side; expected views.both alone, as a copy is what both sides see. Leave them out here, "
            "and train on the copies with views.student."
        )
    return sides


def _images(faces: Any, sides: Sides, copies: int, quality: int) -> Iterator[tuple[int, bytes]]:
    """Yield label and encoded image: the set itself, then its copies."""
    for index in range(len(faces)):
        yield faces.stored(index)
    step = 0
    for copy in range(copies):
        order = np.random.default_rng((sides.seed, copy)).permutation(len(faces))
        for start in range(0, len(order), BATCH):
            items = [faces[int(index)] for index in order[start : start + BATCH]]
            pixels = torch.from_numpy(np.stack([rgb for rgb, _ in items])).permute(0, 3, 1, 2)
            seen, _ = sides(pixels.float() / 127.5 - 1, step)
            step += 1
            for rgb, (_, label) in zip(as_bytes(seen), items, strict=True):
                yield label, encode_jpeg(rgb, quality)
