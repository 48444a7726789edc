"""Reads folders of people; writes outputs completely or not at all."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from insightface_cakd.errors import DataError
from insightface_cakd.runtime import atomic

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
# What systems, archives and notebooks leave in folders, beside names that begin with a dot; lower case.
_LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"})
_DIGITS = re.compile(r"([0-9]+)")
# How many names an error or a note shows.
_SHOWN = 3


@dataclass(frozen=True)
class People:
    """The people of a folder and their images.

    People are in the order of their names as text (`id_10` before `id_2`), as arcface_torch numbers them; the images of a person in
    natural order.

    Args:
        images: of each person; a dangling link to an image counts, so that whoever reads it reports it.
        skipped: files that are not images by their suffix or lie in no person's folder, folders without images, and litter, see
            `is_litter`; of a folder that is litter itself only the folder.
    """

    images: list[list[Path]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Return a sorting key that puts `id_2` before `id_10`."""
    parts = _DIGITS.split(str(path))
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], str(path)


def is_litter(path: Path) -> bool:
    """Return whether a system, an archive or a notebook left it.

    Such as `.DS_Store`, `._a.jpg`, `.ipynb_checkpoints`, `__MACOSX` or `Thumbs.db`: no person and no face, whatever its ending.
    """
    return path.name.startswith(".") or path.name.lower() in _LITTER


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return a folder's files at any depth, and the litter among them.

    Both in natural order. What lies in a folder that is litter is not looked at.
    """
    files: list[Path] = []
    litter: list[Path] = []
    for path in sorted(folder.rglob("*"), key=natural_key):
        inside = path.relative_to(folder)
        if any(is_litter(parent) for parent in inside.parents):
            continue
        if is_litter(path):
            litter.append(path)
        elif path.is_file() or is_dangling(path):
            files.append(path)
    return files, litter


def image_files(folder: Path) -> list[Path]:
    """Return the images at any depth, in natural order."""
    return [file for file in files_below(folder)[0] if file.suffix.lower() in IMAGE_SUFFIXES]


def skipped_line(names: Sequence[str]) -> str:
    """Return how many files and folders were skipped, and some names."""
    return f"skipped, no image or in no person's folder: {len(names)} ({first_names(names)})"


def first_names(names: Sequence[str]) -> str:
    """Return the first names of many."""
    return "; ".join(names[:_SHOWN]) + ("; ..." if len(names) > _SHOWN else "")


def shown(path: Path, folder: Path) -> str:
    """Return a path below a folder, marked if it is no file."""
    mark = " (a link to nothing)" if is_dangling(path) else "/" if path.is_dir() else ""
    return path.relative_to(folder).as_posix() + mark


def is_dangling(path: Path) -> bool:
    """Return whether a path is a link whose target does not exist."""
    return path.is_symlink() and not path.exists()


def find_people(folder: str | os.PathLike[str]) -> People:
    """List a folder's people, one per subfolder, with images at any depth."""
    root, people = Path(folder), People()
    if not root.is_dir():
        raise DataError(f"{folder}: no such folder; expected one subfolder for each person. Check the path.")
    for entry in sorted(root.iterdir(), key=lambda path: path.name):
        if is_litter(entry) or not entry.is_dir():
            people.skipped.append(entry)
            continue
        files, litter = files_below(entry)
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        people.skipped.extend(sorted({*files, *litter} - {*images}))
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
