"""Packs folders of people into InsightFace's record files, and unpacks them."""

import os
from dataclasses import dataclass
from pathlib import Path

from insightface_cakd.data.folders import People, find_people, require_new_folder, writing
from insightface_cakd.data.image_damage import image_fault
from insightface_cakd.data.image_header import image_format
from insightface_cakd.data.images import FACE_SIZE, decode_rgb, face_bytes
from insightface_cakd.data.record import Record
from insightface_cakd.data.recordio import RecordWriter
from insightface_cakd.data.records import FLOAT32_EXACT, INDEX, RECORDS, FaceRecords
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.progress import Progress

_SUFFIX = {"jpeg": ".jpg", "png": ".png", "other": ".img"}


@dataclass(frozen=True)
class PackSummary:
    """The result of packing.

    Args:
        kept: number of images whose bytes were copied; the others were encoded anew, and resized where needed.
        skipped: files and folders left out, see `People`.
    """

    identities: int
    images: int
    kept: int
    skipped: tuple[Path, ...]


def pack(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    quality: int = 95,
    keep_bytes: bool = True,
    progress: Progress | None = None,
) -> PackSummary:
    """Write `train.rec`, `train.idx` and `property` from folders of people.

    Labels follow the order of the folder names as text (`id_10` before `id_2`), as arcface_torch numbers folders. For n images of p people
    the files hold: the header, key 0 with labels [n + 1, n + 1 + p]; images, keys 1 to n with a scalar label; identities, keys n
    + 1 to n + p with labels [first key, key behind the last]; and `property` with `p,112,112`.

    Args:
        folder: has one subfolder per person; files that are not images by their suffix are skipped and listed in the
            summary.
        out: the folder to create.
        quality: JPEG quality of images that are encoded, 1 to 100.
        keep_bytes: copy the bytes of a JPEG or PNG that is 112 x 112; False encodes every image anew.
        progress: called with (images done, images in all).

    Raises:
        DataError: there is no person or just one, `out` exists, or the disk is full; or images are empty, truncated,
            unreadable or not square: all are tried, the first three are named. Nothing is left behind.
    """
    require_new_folder(out, folder)
    people = find_people(folder)
    if len(people.images) < 2:
        raise DataError(
            f"{folder}: one person ('{people.names[0]}'); training needs at least 2. Add folders of people."
        )
    if len(people.images) > FLOAT32_EXACT:
        raise DataError(
            f"{folder}: {len(people.images)} people; labels are float32, exact to {FLOAT32_EXACT}. Use fewer."
        )
    with writing(out) as temporary:
        temporary.mkdir()
        kept = _write_records(people, temporary, quality, keep_bytes, progress)
        line = f"{len(people.images)},{FACE_SIZE},{FACE_SIZE}\n"
        (temporary / "property").write_text(line, encoding="ascii", newline="\n")
    return PackSummary(len(people.images), sum(map(len, people.images)), kept, tuple(people.skipped))


def _write_records(people: People, out: Path, quality: int, keep_bytes: bool, progress: Progress | None) -> int:
    """Write header, images and identities; return how many images kept their bytes."""
    count = sum(map(len, people.images))
    key, kept, ranges, faults = 0, 0, [], []
    with RecordWriter(out / RECORDS, out / INDEX) as writer:
        writer.write(0, Record(2, (count + 1, count + 1 + len(people.images)), 0))
        for label, images in enumerate(people.images):
            ranges.append((key + 1, key + 1 + len(images)))
            for image in images:
                key += 1
                try:
                    payload, own = face_bytes(image, quality, keep_bytes)
                    writer.write(key, Record(0, (label,), key, 0, payload))
                    kept += own
                except DataError as error:
                    faults.append(str(error))
                if progress:
                    progress(key, count)
        for offset, first_and_end in enumerate(ranges):
            writer.write(count + 1 + offset, Record(2, first_and_end, count + 1 + offset))
    _raise_faults(faults, count)
    return kept


def _raise_faults(faults: list[str], count: int) -> None:
    """Raise one error for all unusable images, with the first three faults."""
    if len(faults) == 1:
        raise DataError(faults[0])
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise DataError(f"{len(faults)} of {count} images cannot be used: {' | '.join(faults[:3])}{more}")


def unpack(folder: str | os.PathLike[str], out: str | os.PathLike[str], progress: Progress | None = None) -> int:
    """Write the images of a record folder as files.

    The files are `<label>/<key>.jpg` (or .png, or .img for other formats), with unchanged bytes. Folder names have
    leading zeros, so that packing them again gives the same labels.

    Args:
        folder: holds `train.rec` and `train.idx`, either style.
        out: the folder to create.
        progress: called with (images done, images in all).

    Returns:
        The number of images.

    Raises:
        DataError: a record is damaged or holds no image, `out` exists, or the disk is full; nothing is left behind.
    """
    require_new_folder(out, folder)
    faces = FaceRecords(folder)
    labels = faces.labels()
    label_digits, key_digits = len(str(labels.max())), len(str(faces.keys.max()))
    with writing(out) as temporary:
        for done, (key, label) in enumerate(zip(faces.keys.tolist(), labels.tolist(), strict=True), start=1):
            payload = faces.reader.read(key).payload
            if fault := image_fault(payload):
                raise DataError(f"{faces.reader.where(key)}: {fault}; expected an image. Run the data check.")
            decode_rgb(payload, faces.reader.where(key))
            person = temporary / f"{label:0{label_digits}}"
            person.mkdir(parents=True, exist_ok=True)
            (person / f"{key:0{key_digits}}{_SUFFIX[image_format(payload)]}").write_bytes(payload)
            if progress:
                progress(done, len(faces))
    return len(faces)
