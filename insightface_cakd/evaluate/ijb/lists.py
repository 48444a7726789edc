"""The lists of an IJB tree: faces and pairs of templates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.ijb.presets import Target
from insightface_cakd.evaluate.ijb.tables import DIGITS, read_integers, read_rows

POINTS = 5
# Larger coordinates cannot be pixels, and their squares overflow.
LARGEST = 1e9
# Ids looked up at a time.
CHUNK = 1 << 18


@dataclass(frozen=True)
class Faces:
    """Rows of `<s>_name_5pts_score.txt` and `<s>_face_tid_mid.txt`, in their order.

    Args:
        points: float32 (N, 5, 2), x and y of eyes, nose and mouth corners.
        scores: float32 (N,), the detector's.
        templates: int32 (N,), ids.
        medias: int32 (N,), ids.
    """

    names: list[str]
    points: np.ndarray
    scores: np.ndarray
    templates: np.ndarray
    medias: np.ndarray

    def by_name(self, faults: dict[int, str]) -> dict[str, str]:
        """Return faults by the name of the image instead of its row."""
        return {self.names[row]: fault for row, fault in faults.items()}


@dataclass(frozen=True)
class Pairs:
    """Pairs of templates to compare.

    Args:
        first: int32 (P,), template ids, as `second`.
        same: bool (P,), whether both show one subject.
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


@dataclass(frozen=True)
class Tree:
    """The location of an IJB set."""

    folder: Path
    target: Target

    @property
    def images(self) -> Path:
        """Folder of the pictures."""
        return self.folder / "loose_crop"

    def meta(self, name: str) -> Path:
        """Return the path of a list."""
        return self.folder / "meta" / f"{self.target.lower()}_{name}"


def find_tree(root: Path, target: Target) -> Tree:
    """Find a set's tree in its folder or the one of both."""
    for folder in (root / target, root):
        if (folder / "meta").is_dir():
            return Tree(folder, target)
    raise DataError(f"{root}: holds neither {target}/meta nor meta; expected an IJB tree. Correct --root or --target.")


def read_faces(tree: Tree, workers: int = 2) -> Faces:
    """Read both lists of faces, which name the same images in order."""
    names, points, scores = _read_landmarks(tree.meta("name_5pts_score.txt"), workers)
    path = tree.meta("face_tid_mid.txt")
    named, (templates, medias) = read_rows(path, 2, "`image template media`", "int", workers)
    if len(named) != len(names):
        raise DataError(
            f"{path}: {len(named)} images, {tree.meta('name_5pts_score.txt').name} has {len(names)}; expected the same "
            "images in the same order. Get both files from one release."
        )
    if named != names:
        row = next(row for row, (one, other) in enumerate(zip(named, names, strict=True)) if one != other)
        raise DataError(
            f"{path}, face {row + 1}: is {named[row]}, in {tree.meta('name_5pts_score.txt').name} it is {names[row]}; "
            "expected the same images in the same order. Get both files from one release."
        )
    lowest, highest = (find([find(templates), find(medias)]) for find in (np.min, np.max))
    if lowest < 0 or highest >= 10**DIGITS:
        raise DataError(f"{path}: ids from {lowest} to {highest}; expected 0 to {10**DIGITS - 1}. Get the file again.")
    return Faces(names, points, scores, templates, medias)


def read_pairs(tree: Tree, templates: np.ndarray, workers: int = 2) -> Pairs:
    """Read the pairs of templates."""
    path = tree.meta("template_pair_label.txt")
    first, second, labels = read_integers(path, 3, "`template template label`, whole numbers", workers)
    if labels.max() > 1:
        row = int(np.argmax(labels > 1))
        raise DataError(f"{path}, pair {row + 1}: label {labels[row]}; expected 0 or 1. Correct the line.")
    require_known(path, "pairs name", (first, second), templates)
    same = labels == 1
    if same.all() or not same.any():
        raise DataError(
            f"{path}: {int(same.sum())} same and {int((~same).sum())} different pairs; expected both kinds. Get the file again."
        )
    return Pairs(first, second, same)


def require_known(path: Path, what: str, columns: Sequence[np.ndarray], templates: np.ndarray) -> None:
    """Check that every template has an image; `what` words the message."""
    parts = [ids[start : start + CHUNK] for ids in columns for start in range(0, len(ids), CHUNK)]
    unknown = np.unique(np.concatenate([part[~np.isin(part, templates)] for part in parts]))
    if len(unknown):
        shown = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise DataError(
            f"{path}: {what} {len(unknown)} templates without an image ({shown}); expected templates of the list "
            "face_tid_mid. Get all lists from one release."
        )


def require_images(tree: Tree, names: list[str]) -> None:
    """Check that every listed image exists."""
    if not tree.images.is_dir():
        raise DataError(f"{tree.images}: does not exist; expected the folder of the pictures. Is it a whole IJB tree?")
    present = {entry.name for entry in tree.images.iterdir()}
    absent = [name for name in names if name not in present and not ("/" in name and (tree.images / name).is_file())]
    if absent:
        shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        raise DataError(
            f"{tree.images}: {len(absent)} of {len(names)} listed images are absent ({shown}); expected all of them. "
            "Unpack the archive again."
        )


def _read_landmarks(path: Path, workers: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return names, points float32 (N, 5, 2) and scores float32 (N,)."""
    expected = f"`image x1 y1 .. x{POINTS} y{POINTS} score`, {POINTS} points"
    names, numbers = read_rows(path, 2 * POINTS + 1, expected, "float", workers)  # (11, N)
    # NaN fails these comparisons too; numbers that pass are finite in float32.
    if not -LARGEST <= numbers.min() <= numbers.max() <= LARGEST:
        row = int(np.argmin((np.abs(numbers) <= LARGEST).all(axis=0)))
        raise DataError(
            f"{path}, face {row + 1} ({names[row]}): has a number that is not finite or beyond {LARGEST:g}; expected pixels "
            "and a score. Correct the line."
        )
    points = np.empty((len(names), 2 * POINTS), np.float32)
    points[...] = numbers[:-1].T
    return names, points.reshape(-1, POINTS, 2), numbers[-1].astype(np.float32)
