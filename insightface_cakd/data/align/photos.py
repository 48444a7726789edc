"""The photos of a folder: one subfolder a person, or all in one place."""

from dataclasses import dataclass
from pathlib import Path

from insightface_cakd.data.folders import IMAGE_SUFFIXES, find_people, is_dangling, natural_key
from insightface_cakd.errors import DataError


@dataclass(frozen=True)
class Photos:
    """What is to be aligned.

    Args:
        files: each image, people in natural order of their names, then their images.
        crops: for each, where its face goes: `person/name.jpg`, or `name.jpg` without people.
        skipped: what is no image, as paths below the folder: folders end in a slash, links to nothing are marked.
        people: the names, empty without people.
    """

    files: list[Path]
    crops: list[str]
    skipped: list[str]
    people: list[str]


def find_photos(folder: Path) -> Photos:
    """List the photos of a folder, of each person where there are subfolders.

    Raises:
        DataError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected photos, or one subfolder for each person. Check the path.")
    entries = sorted(folder.iterdir(), key=natural_key)
    files = [file for file in entries if file.is_file() or is_dangling(file)]
    loose = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if loose and not any(entry.is_dir() for entry in entries):
        others = [_shown(file, folder) for file in sorted(set(entries) - set(loose), key=natural_key)]
        return Photos(loose, _names("", loose), others, [])
    if not entries:
        raise DataError(f"{folder}: is empty; expected photos, or one subfolder for each person. Check the path.")
    found = find_people(folder)
    photos = Photos([], [], [_shown(path, folder) for path in found.skipped], found.names)
    for name, images in zip(found.names, found.images, strict=True):
        photos.files.extend(images)
        photos.crops.extend(_names(f"{name}/", images))
    return photos


def _shown(path: Path, folder: Path) -> str:
    mark = " (a link to nothing)" if is_dangling(path) else "/" if path.is_dir() else ""
    return path.relative_to(folder).as_posix() + mark


def _names(prefix: str, images: list[Path]) -> list[str]:
    """Return a name for the face of each image; a second `a`, as of a.jpg and a.png, becomes `a_2`."""
    names: dict[str, None] = {}
    for image in images:
        name, number = image.stem, 1
        while name in names:
            number += 1
            name = f"{image.stem}_{number}"
        names[name] = None
    return [f"{prefix}{name}.jpg" for name in names]
