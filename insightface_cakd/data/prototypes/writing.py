"""Computes a training set's prototypes in one pass of the teacher."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from insightface_cakd import __version__
from insightface_cakd.data.answers import check_answers
from insightface_cakd.data.embedding_cache.writing import BLOCK, SILENT, Embeds, origin_of
from insightface_cakd.data.face_batches import read_ahead
from insightface_cakd.data.folders import require_new_folder, writing
from insightface_cakd.data.label_order import LabelOrder, as_saved
from insightface_cakd.data.prototypes.mining import nearest_others
from insightface_cakd.data.prototypes.reading import HARDEST, IMAGES, KIND, META, PROTOTYPES, PrototypesMeta
from insightface_cakd.errors import DataError, TeacherError
from insightface_cakd.runtime.long_job import LongJob, Phase, long_job
from insightface_cakd.runtime.progress import Progress
from insightface_cakd.runtime.ranks import first_decides, rank

# Shorter vectors have no meaningful direction.
SHORTEST = 1e-6
# Identities of a block of the search for the nearest.
MINED = 8192


@dataclass(frozen=True)
class LabelledFaces:
    """A training set of C identities as input of `write_prototypes`.

    Args:
        labels: (N,) the identity of every image.
        batches: uint8 (B, S, S, 3), RGB, in the order of the labels; all but the last have the same B.
        order: whose label is which; None is not noted.
    """

    folder: Path
    data: str
    labels: np.ndarray
    num_classes: int
    batches: Sequence[np.ndarray]
    order: LabelOrder | None = None


def write_prototypes(
    teacher: Embeds,
    faces: LabelledFaces,
    out: str | Path,
    nearest: int = 100,
    progress: Progress | None = None,
    workers: int = 0,
) -> PrototypesMeta:
    """Write a teacher's direction for each identity, and its nearest others.

    r_c = norm(mean of the unit features of the images of c), where an image's feature is the sum of the teacher's
    embeddings of the image and of its mirror image; then the `nearest` other identities of highest r_c . r_c'.
    Embeddings are not kept: memory grows with the number of identities, not of images.

    All ranks of a group share the work, and a stopped call is gone on with: the files are the same, see `long_job`.

    Args:
        nearest: number of others, at most those that there are.
        progress: called with images, then identities too, done and in all.
        workers: processes that read images beside the teacher.
    """
    with first_decides():
        if rank() == 0:
            require_new_folder(out, faces.folder)
    if nearest < 1:
        raise DataError(f"prototypes: nearest is {nearest}; expected a number of identities >= 1, usually 100.")
    images = count_images(faces)
    report = progress or (lambda done, total: None)
    count, total = len(faces.labels), len(faces.labels) + faces.num_classes
    with long_job(Path(out), origin_of(KIND, teacher, faces.data, nearest=nearest), DataError) as job:
        sums = _sum_features(teacher, faces, job, lambda done: report(done, total), workers)
        rows = _directions(sums, teacher.name)
        hardest = _mine_nearest(rows, nearest, teacher.device, job, lambda done: report(count + done, total))
        meta = PrototypesMeta(
            teacher=teacher.name,
            teacher_sha256=teacher.sha256,
            data=faces.data,
            num_classes=faces.num_classes,
            embedding_size=rows.shape[1],
            nearest=hardest.shape[1],
            images=count,
            single=int((images == 1).sum()),
            version=__version__,
            labels=as_saved(faces.order),
            takes=str(teacher.takes),
        )
        if rank() == 0:
            save_prototypes(out, meta, rows.numpy(), hardest, images)
    return meta


def _mine_nearest(
    rows: Tensor, nearest: int, device: torch.device, job: LongJob, progress: Callable[[int], None]
) -> np.ndarray:
    """Return the numbers of each row's nearest others, found by all ranks."""
    # Metal has no float64.
    there = rows.to(torch.device("cpu") if device.type == "mps" else device)
    phase = Phase("nearest", len(rows), MINED)
    for number, wanted in job.mine(phase).items():
        done = job.done(phase)
        found = nearest_others(there, nearest, _further(progress, done), wanted=wanted)
        job.save(phase, number, {"found": found.numpy()})
    return np.concatenate([block["found"] for block in job.blocks(phase)])


def _further(progress: Callable[[int], None], before: int) -> Callable[[int], None]:
    """Return a callback that counts on from `before`."""
    return lambda done: progress(before + done)


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


def _sum_features(
    teacher: Embeds, faces: LabelledFaces, job: LongJob, progress: Callable[[int], None], workers: int
) -> Tensor:
    """Return the sum of each identity's unit features, (C, D) float32 on the CPU, found by all ranks.

    A block's sums are added in the order of its images, and the blocks' in their order: the number of ranks changes no rounding.
    """
    phase, size = Phase("sums", len(faces.batches), BLOCK), len(faces.batches[0])
    spans = job.mine(phase)
    batches = read_ahead(faces.batches, [number for span in spans.values() for number in span], workers)
    for block, span in spans.items():
        before, first = job.done(phase) * size, span.start * size
        people, which = np.unique(faces.labels[first : span.stop * size], return_inverse=True)
        sums, done = torch.zeros(len(people), teacher.embedding_size), 0
        for batch in islice(batches, len(span)):
            units = _unit_features(teacher, torch.as_tensor(batch), first + done, faces.folder)
            sums.index_add_(0, torch.from_numpy(which[done : done + len(batch)]), units)
            done += len(batch)
            progress(before + done)
        job.save(phase, block, {"people": people, "sums": sums.numpy()})
    total = np.zeros((faces.num_classes, teacher.embedding_size), np.float32)
    for part in job.blocks(phase):
        total[part["people"]] += part["sums"]
    return torch.from_numpy(total)


def _unit_features(teacher: Embeds, batch: Tensor, first: int, folder: Path) -> Tensor:
    """Return the unit features of a batch, (B, D) float32 on the CPU."""
    pixels = batch.to(teacher.device).permute(0, 3, 1, 2).contiguous()
    images = (pixels.float() - 127.5) / 127.5
    both = [teacher(view).float() for view in (images, images.flip(-1))]
    where = f"teacher {teacher.name}, images {first} to {first + len(batch) - 1} of {folder}"
    for embeddings in both:
        check_answers(embeddings, where, SILENT, different=False)
    features = (both[0] + both[1]).cpu()
    return features / torch.linalg.vector_norm(features, dim=1, keepdim=True).clamp_min(SHORTEST)


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
