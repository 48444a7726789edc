"""Computes a training set's prototypes in one pass of the teacher."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from insightface_cakd import __version__
from insightface_cakd.data.answers import check_answers
from insightface_cakd.data.embedding_cache.writing import SILENT, Embeds
from insightface_cakd.data.folders import require_new_folder, writing
from insightface_cakd.data.label_order import LabelOrder, as_saved
from insightface_cakd.data.prototypes.mining import nearest_others
from insightface_cakd.data.prototypes.reading import HARDEST, IMAGES, META, PROTOTYPES, PrototypesMeta
from insightface_cakd.errors import DataError, TeacherError
from insightface_cakd.runtime.folder_lock import only_writer
from insightface_cakd.runtime.progress import Progress

# Shorter vectors have no meaningful direction.
SHORTEST = 1e-6


@dataclass(frozen=True)
class LabelledFaces:
    """A training set of C identities as input of `write_prototypes`.

    Args:
        labels: (N,) the identity of every image.
        batches: uint8 (B, S, S, 3), RGB, in the order of the labels.
        order: whose label is which; None is not noted.
    """

    folder: Path
    data: str
    labels: np.ndarray
    num_classes: int
    batches: Iterable[np.ndarray]
    order: LabelOrder | None = None


def write_prototypes(
    teacher: Embeds, faces: LabelledFaces, out: str | Path, nearest: int = 100, progress: Progress | None = None
) -> PrototypesMeta:
    """Write a teacher's direction for each identity, and its nearest others.

    r_c = norm(mean of the unit features of the images of c), where an image's feature is the sum of the teacher's
    embeddings of the image and of its mirror image; then the `nearest` other identities of highest r_c . r_c'.
    Embeddings are not kept: memory grows with the number of identities, not of images. `progress` counts the images,
    then the identities.
    """
    require_new_folder(out, faces.folder)
    if nearest < 1:
        raise DataError(f"prototypes: nearest is {nearest}; expected a number of identities >= 1, usually 100.")
    with only_writer(out, DataError, moved=True):
        return _write(teacher, faces, out, nearest, progress)


def _write(
    teacher: Embeds, faces: LabelledFaces, out: str | Path, nearest: int, progress: Progress | None
) -> PrototypesMeta:
    images = count_images(faces)
    report = progress or (lambda done, total: None)
    total = len(faces.labels) + faces.num_classes
    sums = _sum_features(teacher, faces, lambda done: report(done, total))
    rows = _directions(sums, teacher.name)
    # Metal has no float64.
    device = torch.device("cpu") if teacher.device.type == "mps" else teacher.device
    hardest = nearest_others(rows.to(device), nearest, lambda done: report(len(faces.labels) + done, total))
    meta = PrototypesMeta(
        teacher=teacher.name,
        teacher_sha256=teacher.sha256,
        data=faces.data,
        num_classes=faces.num_classes,
        embedding_size=rows.shape[1],
        nearest=hardest.shape[1],
        images=len(faces.labels),
        single=int((images == 1).sum()),
        version=__version__,
        labels=as_saved(faces.order),
        takes=str(teacher.takes),
    )
    save_prototypes(out, meta, rows.numpy(), hardest.numpy(), images)
    return meta


def save_prototypes(
    out: str | Path, meta: PrototypesMeta, rows: np.ndarray, hardest: np.ndarray, images: np.ndarray
) -> None:
    """Write a folder of prototypes, completely or not at all; see `Prototypes`."""
    with writing(out) as temporary:
        temporary.mkdir()
        for name, array in ((PROTOTYPES, rows), (HARDEST, hardest), (IMAGES, images)):
            np.save(temporary / name, array)
        (temporary / META).write_text(json.dumps(asdict(meta), indent=1), encoding="utf-8")


def count_images(faces: LabelledFaces) -> np.ndarray:
    """Return the number of images of each identity, at least 1, (C,)."""
    count = faces.num_classes
    if count < 2:
        raise DataError(
            f"{faces.folder}: one person; prototypes need at least 2. Add folders of people, and pack them again."
        )
    outside = faces.labels[(faces.labels < 0) | (faces.labels >= count)]
    if len(outside):
        raise DataError(
            f"{faces.folder}: label {outside[0]} of {count} identities; expected labels below their number. Pack the data again."
        )
    images = np.bincount(faces.labels, minlength=count)
    absent = np.flatnonzero(images == 0)
    if len(absent):
        shown = ", ".join(map(str, absent[:5])) + (", ..." if len(absent) > 5 else "")
        raise DataError(
            f"{faces.folder}: {len(absent)} of {count} identities have no image ({shown}); expected at least one for each number from 0 to "
            f"{count - 1}. Pack the data again."
        )
    return images.astype(np.int64)


def _sum_features(teacher: Embeds, faces: LabelledFaces, progress: Callable[[int], None]) -> Tensor:
    """Return the sum of each identity's unit features, (C, D) float32 on the CPU."""
    sums, done = torch.zeros(faces.num_classes, teacher.embedding_size), 0
    for batch in faces.batches:
        pixels = torch.from_numpy(batch).to(teacher.device).permute(0, 3, 1, 2).contiguous()
        images = (pixels.float() - 127.5) / 127.5
        both = [teacher(view).float() for view in (images, images.flip(-1))]
        for embeddings in both:
            check_answers(
                embeddings,
                f"teacher {teacher.name}, images {done} to {done + len(batch) - 1} of {faces.folder}",
                SILENT,
                different=False,
            )
        features = (both[0] + both[1]).cpu()
        units = features / torch.linalg.vector_norm(features, dim=1, keepdim=True).clamp_min(SHORTEST)
        sums.index_add_(0, torch.from_numpy(faces.labels[done : done + len(batch)]), units)
        done += len(batch)
        progress(done)
    return sums


def _directions(sums: Tensor, teacher: str) -> Tensor:
    """Normalise the rows to unit length, in place, since they may take gigabytes."""
    lengths = torch.linalg.vector_norm(sums, dim=1, keepdim=True)
    if float(lengths.min()) < SHORTEST:
        raise TeacherError(
            f"teacher {teacher}: the features of identity {int(lengths.argmin())} add up to zero; expected a direction. Is it the right "
            "teacher for this data?"
        )
    sums.div_(lengths)
    check_answers(sums, f"teacher {teacher}: the prototypes of {len(sums)} identities", SILENT)
    return sums
