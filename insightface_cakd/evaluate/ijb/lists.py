"""The lists of an IJB tree: faces and pairs of templates."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insightface_cakd.errors import DataError
from insightface_cakd.evaluate.ijb.presets import Target
from insightface_cakd.runtime.reading import read_text, reading

POINTS = 5
LINES_AT_ONCE = 20_000
# Larger coordinates cannot be pixels, and their squares overflow.
LARGEST = 1e9
LONGEST = 9  # digits: every such number fits int32


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


def read_faces(tree: Tree) -> Faces:
    """Read both lists of faces, which name the same images in order."""
    names, numbers = _read_landmarks(tree.meta("name_5pts_score.txt"))
    path = tree.meta("face_tid_mid.txt")
    named, ids = _read_rows(path, 2, "`image template media`", np.int64)
    if len(named) != len(names):
        raise DataError(
            f"{path}: {len(named)} images, {tree.meta('name_5pts_score.txt').name} has {len(names)}; expected the same "
            "images in the same order. Get both files from one release."
        )
    for line, (one, other) in enumerate(zip(named, names, strict=True), 1):
        if one != other:
            raise DataError(
                f"{path}, face {line}: is {one}, in {tree.meta('name_5pts_score.txt').name} it is {other}; expected the "
                "same images in the same order. Get both files from one release."
            )
    if ids.min() < 0 or ids.max() >= 10**9:
        raise DataError(f"{path}: ids from {ids.min()} to {ids.max()}; expected 0 to 999999999. Get the file again.")
    points = numbers[:, : 2 * POINTS].reshape(-1, POINTS, 2)
    templates, medias = (np.ascontiguousarray(column, dtype=np.int32) for column in ids.T)
    return Faces(names, np.ascontiguousarray(points), np.ascontiguousarray(numbers[:, -1]), templates, medias)


def read_pairs(tree: Tree, templates: np.ndarray) -> Pairs:
    """Read the pairs of templates."""
    path = tree.meta("template_pair_label.txt")
    table = read_integers(path, 3, "`template template label`, whole numbers")
    labels = table[:, 2]
    if labels.max() > 1:
        row = int(np.argmax(labels > 1))
        raise DataError(f"{path}, pair {row + 1}: label {labels[row]}; expected 0 or 1. Correct the line.")
    first, second = (np.ascontiguousarray(table[:, column]) for column in (0, 1))
    require_known(path, "pairs name", np.concatenate([np.unique(first), np.unique(second)]), templates)
    same = labels == 1
    if same.all() or not same.any():
        raise DataError(
            f"{path}: {int(same.sum())} same and {int((~same).sum())} different pairs; expected both kinds. Get the file again."
        )
    return Pairs(first, second, same)


def require_known(path: Path, what: str, ids: np.ndarray, templates: np.ndarray) -> None:
    """Check that every template has an image; `what` words the message."""
    unknown = np.setdiff1d(ids, templates)
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


def _read_landmarks(path: Path) -> tuple[list[str], np.ndarray]:
    """Return names, and float32 (N, 11): points and score."""
    names, numbers = _read_rows(
        path, 2 * POINTS + 1, f"`image x1 y1 .. x{POINTS} y{POINTS} score`, {POINTS} points", np.float64
    )
    # NaN fails this comparison too; numbers that pass are finite in float32.
    finite = (np.abs(numbers) <= LARGEST).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataError(
            f"{path}, face {row + 1} ({names[row]}): has a number that is not finite or beyond {LARGEST:g}; expected pixels "
            "and a score. Correct the line."
        )
    return names, numbers.astype(np.float32)


def _read_rows(path: Path, columns: int, expected: str, kind: type) -> tuple[list[str], np.ndarray]:
    """Return names and numbers of lines of a name and `columns` numbers."""
    names: list[str] = []
    tables = []
    lines = read_text(path, DataError, f"lines of {expected}. Is it a whole IJB tree?").rstrip().splitlines()
    for start in range(0, len(lines), LINES_AT_ONCE):
        rows = [line.split() for line in lines[start : start + LINES_AT_ONCE]]
        for number, row in enumerate(rows, start + 1):
            if len(row) != columns + 1:
                raise DataError(
                    f"{path}, line {number}: {len(row)} words; expected {columns + 1}: {expected}. Correct the line, or get "
                    "the file again."
                )
        names += [row[0] for row in rows]
        tables.append(_numbers([row[1:] for row in rows], kind, path, start + 1, expected))
    if not names:
        raise DataError(f"{path}: holds no line; expected lines of {expected}. Get the file again.")
    return names, np.concatenate(tables)


def _numbers(words: list[list[str]], kind: type, path: Path, first_line: int, expected: str) -> np.ndarray:
    try:
        return np.array(words).astype(kind)
    except (ValueError, OverflowError):
        for number, row in enumerate(words, first_line):
            try:
                np.array(row).astype(kind)
            except (ValueError, OverflowError) as error:
                raise DataError(
                    f"{path}, line {number}: {' '.join(row)[:60]!r}; expected {expected}. Correct the line."
                ) from error
        raise


def read_integers(path: Path, columns: int, expected: str) -> np.ndarray:
    """Return a text table of non-negative numbers as int32 (rows, columns).

    Numbers are separated by blanks; empty lines are skipped.
    """
    with reading(path, DataError, f"lines of {expected}. Is it a whole IJB tree?"), path.open("rb"):
        pass
    try:
        with warnings.catch_warnings():
            # NumPy only warns of an empty table and of a number such as 5.0.
            warnings.simplefilter("error")
            # NumPy reads a path nearly twice as fast as a file.
            table = np.loadtxt(path, np.int32, comments=None, ndmin=2, encoding="latin-1")
    except (ValueError, Warning) as error:
        raise _wrong_line(path, columns, expected) from error
    if table.shape[1] != columns or table.min() < 0 or table.max() >= 10**LONGEST:
        raise _wrong_line(path, columns, expected)
    return table


def _wrong_line(path: Path, columns: int, expected: str) -> DataError:
    """Return the error for the first wrong line or an empty table."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            whole = all(word.isascii() and word.isdigit() for word in words)
            short = all(len(word) <= LONGEST for word in words)
            if words and not (len(words) == columns and whole and short):
                limit = "" if short or not whole else f", numbers of at most {LONGEST} digits"
                return DataError(
                    f"{path}, line {number}: {line.strip()[:60]!r}; expected {expected}{limit}. Correct the line, or get the file "
                    "again."
                )
    return DataError(f"{path}: holds no line; expected lines of {expected}. Get the file again.")
