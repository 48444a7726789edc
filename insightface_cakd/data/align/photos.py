"""Lists the photos of a folder, sorted by person or not."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from insightface_cakd.data.folders import IMAGE_SUFFIXES, find_people, is_dangling, is_litter, natural_key, shown
from insightface_cakd.errors import DataError


@dataclass(frozen=True)
class Photos:
    """The photos to be aligned.

    Args:
        files: people in the order of their names, then the images of each.
        crops: for each image the relative path of its face: `person/name.jpg`, or `name.jpg` without people.
        skipped: entries that are not images, relative; folders end in a slash, dangling links are marked.
        people: names; empty if the photos are not sorted by person.
    """

    files: list[Path]
    crops: list[str]
    skipped: list[str]
    people: list[str]


def find_photos(folder: Path) -> Photos:
    """List a folder's photos; subfolders, where there are any, are the people."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected photos, or one subfolder for each person. Check the path.")
    entries = sorted(folder.iterdir(), key=natural_key)
    files = [file for file in entries if not is_litter(file) and (file.is_file() or is_dangling(file))]
    loose = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if loose and not any(entry.is_dir() and not is_litter(entry) for entry in entries):
        others = [shown(file, folder) for file in sorted(set(entries) - set(loose), key=natural_key)]
        return Photos(loose, _names("", loose), others, [])
    if not entries:
        raise DataError(f"{folder}: is empty; expected photos, or one subfolder for each person. Check the path.")
    found = find_people(folder)
    photos = Photos([], [], [shown(path, folder) for path in found.skipped], found.names)
    for name, images in zip(found.names, found.images, strict=True):
        photos.files.extend(images)
        photos.crops.extend(_names(f"{name}/", images))
    return photos


def photos_sha256(folder: Path, photos: Photos) -> str:
    """Return a sha256 of the photos' names and sizes.

    Args:
        folder: they are named relative to it.
        photos: of that folder.
    """
    digest = hashlib.sha256()
    for file in photos.files:
        size = -1 if is_dangling(file) else file.stat().st_size
        digest.update(f"{file.relative_to(folder).as_posix()}\0{size}\n".encode())
    return digest.hexdigest()


def _names(prefix: str, images: list[Path]) -> list[str]:
    """Return a file name for each aligned face; a second `a` becomes `a_2`."""
    names: dict[str, None] = {}
    for image in images:
        name, number = image.stem, 1
        while name in names:
            number += 1
            name = f"{image.stem}_{number}"
        names[name] = None
    return [f"{prefix}{name}.jpg" for name in names]
