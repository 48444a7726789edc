"""Runs a recipe's teacher over a training set, for cache or prototypes."""

from collections.abc import Callable, Sequence
from pathlib import Path

from insightface_cakd.data.data_set_hash import data_set_hash
from insightface_cakd.data.embedding_cache import FLOAT16, CacheMeta, write_cache
from insightface_cakd.data.face_batches import FaceBatches
from insightface_cakd.data.face_folder import open_face_folder
from insightface_cakd.data.folders import require_new_folder
from insightface_cakd.data.label_order import order_of
from insightface_cakd.data.prototypes import PrototypesMeta, write_prototypes
from insightface_cakd.data.prototypes.writing import LabelledFaces, count_images
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.dataset import open_faces
from insightface_cakd.recipe import load_recipe
from insightface_cakd.runtime.devices import choose_device
from insightface_cakd.tasks.teaching import make_teachers
from insightface_cakd.teachers import Teacher


def cache_teacher(
    recipe: str,
    records: Path,
    out: Path,
    settings: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    workers: int = 0,
    storage: str = FLOAT16,
) -> CacheMeta:
    """Write the teacher's embeddings of a set's images and their mirrors.

    Prompts are left out, since they change.

    Args:
        recipe: name or path; its teacher is run, its losses are ignored.
        records: folder with train.rec or shards.yaml, or one folder of images per person.
        settings: `KEY=VALUE` changes to the recipe.
        progress: called with the number of images done and of all.
        workers: processes that read images beside the teacher.
        storage: how an embedding is kept, `float16` or `int8`.
    """
    faces = open_face_folder(records)
    data, teacher = data_set_hash(records), _teacher(recipe, settings)
    return write_cache(teacher, FaceBatches(faces), out, progress, len(faces), data, workers, storage)


def make_prototypes(
    recipe: str,
    data: Path,
    out: Path,
    settings: Sequence[str] = (),
    nearest: int = 100,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 0,
) -> PrototypesMeta:
    """Write the teacher's prototype of each identity, and those most like it.

    Prompts are left out, since they change. A recipe whose teacher is `cached` looks every image up, and needs no network.

    Args:
        recipe: name or path; its teacher is run, its losses are ignored.
        data: folder with train.rec, or one folder of images per person.
        settings: `KEY=VALUE` changes to the recipe.
        progress: called with the number of images and identities done and of all.
        workers: processes that read images beside the teacher.
    """
    require_new_folder(out, data)
    faces = open_faces(str(data))
    order = order_of(faces, str(data))
    batches = FaceBatches(faces)
    labelled = LabelledFaces(data, data_set_hash(data), faces.labels(), faces.num_classes, batches, order)
    # Errors in the labels are found before a teacher is loaded.
    count_images(labelled)
    return write_prototypes(_teacher(recipe, settings), labelled, out, nearest, progress, workers)


def _teacher(recipe: str, settings: Sequence[str]) -> Teacher:
    """Return a recipe's teacher without prompts, which change."""
    loaded = load_recipe(recipe, settings)
    loaded.teacher.prompts = None
    first = make_teachers(train_v2, loaded, choose_device(None), checks=False).first
    assert first is not None
    return first
