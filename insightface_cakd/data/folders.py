"""Reads folders of people; writes outputs completely or not at all."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from insightface_cakd.errors import DataError
from insightface_cakd.runtime import atomic

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True)
class People:
    """The people of a folder and their images, both in natural order.

    Args:
        images: of each person; a dangling link to an image counts, so that whoever reads it reports it.
        skipped: files that are not images by their suffix or lie in no person's folder, and folders without images.
    """

    images: list[list[Path]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Return a sorting key that puts `id_2` before `id_10`."""
    parts = _DIGITS.split(str(path))
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], str(path)


def is_dangling(path: Path) -> bool:
    """Return whether a path is a link whose target does not exist."""
    return path.is_symlink() and not path.exists()


def find_people(folder: str | os.PathLike[str]) -> People:
    """List a folder's people, one per subfolder, with images at any depth."""
    root, people = Path(folder), People()
    if not root.is_dir():
        raise DataError(f"{folder}: no such folder; expected one subfolder for each person. Check the path.")
    for entry in sorted(root.iterdir(), key=natural_key):
        inside = entry.rglob("*") if entry.is_dir() else ()
        files = [file for file in inside if file.is_file() or is_dangling(file)]
        images = sorted((file for file in files if file.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)
        people.skipped.extend(sorted(set(files) - set(images)))
        if images:
            people.images.append(images)
            people.names.append(entry.name)
        else:
            people.skipped.append(entry)
    if not people.images:
        raise DataError(f"{folder}: no subfolder holds images; expected one subfolder for each person. See its layout.")
    return people


@contextmanager
def writing(out: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path, moved to `out` if the block succeeds."""
    with atomic.writing(out, DataError) as temporary, naming(temporary, out):
        yield temporary


@contextmanager
def naming(temporary: Path, given: str | os.PathLike[str]) -> Iterator[None]:
    """Make errors name the user's path instead of the temporary one."""
    try:
        yield
    except DataError as error:
        raise DataError(str(error).replace(str(temporary), str(given))) from error


def require_new_folder(out: str | os.PathLike[str], source: str | os.PathLike[str]) -> None:
    """Check that a new folder can be made at `out`, outside `source`."""
    atomic.require_new(out, DataError)
    target = Path(out)
    if Path(source).resolve() in (target.resolve(), *target.resolve().parents):
        raise DataError(f"{out}: lies inside the input folder {source}; expected a place outside. Choose another.")
