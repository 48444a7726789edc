"""Reads lists of images with landmarks."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insightface_cakd.errors import DataError
from insightface_cakd.runtime.reading import read_text, reading

HEADER = "a first line `file,<point>_x,<point>_y,...` and a line of numbers for each image."
LINE = "lines `path x1 y1 x2 y2 ...`, the path without blanks (or a .csv with a first line of names)."


@dataclass(frozen=True)
class PointList:
    """A list: files, points (N, K, 2) and their names."""

    path: Path
    files: tuple[str, ...]
    points: np.ndarray
    names: tuple[str, ...]


def read_list(path: Path) -> PointList:
    """Read a .csv, or a list of plain lines.

    Raises:
        DataError: no such file, no image, a line with another number of points than the first, or something that is no number.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: {'is a folder' if path.is_dir() else 'does not exist'}; expected a list of images with landmarks. Correct the path."
        )
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_lines(path)


def _read_csv(path: Path) -> PointList:
    with reading(path, DataError, HEADER, ValueError, IndexError, csv.Error):
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
        numbered = [(reader.line_num, row) for row in reader if row]
        header = numbered[0][1]
    names = _point_names(header, path)
    wrong = [
        f"line {number} has {len(row)} columns; expected {len(header)}"
        for number, row in numbered[1:]
        if len(row) != len(header)
    ]
    _refuse(path, wrong, "Give every line as many points as the first line names.")
    return _checked(path, numbered[1:], names, HEADER)


def _read_lines(path: Path) -> PointList:
    text = read_text(path, DataError, LINE)
    numbered = [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    first = len(numbered[0][1]) if numbered else 0
    wrong = [
        f"line {number} has {len(row) - 1} numbers; expected {first - 1} as in the first"
        for number, row in numbered
        if len(row) != first
    ]
    _refuse(path, wrong, "Give every line `path x1 y1 x2 y2 ...` as many points as the first.")
    if numbered and (first < 3 or first % 2 == 0):
        raise DataError(
            f"{path}: line {numbered[0][0]} has {first - 1} numbers; expected an even number, x and y of each point. Correct the list."
        )
    return _checked(path, numbered, tuple(str(index) for index in range((first - 1) // 2)), LINE)


def _checked(path: Path, numbered: Sequence[tuple[int, list[str]]], names: tuple[str, ...], form: str) -> PointList:
    """Return the list, once every cell after the first is a finite number."""
    if not numbered:
        raise DataError(f"{path}: no image; expected {form}")
    points = np.empty((len(numbered), len(names), 2))
    wrong = []
    for index, (number, row) in enumerate(numbered):
        try:
            points[index] = np.array([float(cell) for cell in row[1:]]).reshape(-1, 2)
        except ValueError:
            points[index] = np.nan
        if not np.isfinite(points[index]).all():
            cell = next(cell for cell in row[1:] if not _is_number(cell))
            wrong.append(f"line {number}: a point is not a number ({cell!r})")
    _refuse(path, wrong, f"expected {form}")
    return PointList(path, tuple(row[0] for _, row in numbered), points, names)


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _refuse(path: Path, wrong: Sequence[str], fix: str) -> None:
    """Raise one error for all faults, which names the first."""
    if wrong:
        more = f" ({len(wrong)} such lines)" if len(wrong) > 1 else ""
        raise DataError(
            f"{path}: {wrong[0]}{more}; {fix}" if ";" not in wrong[0] else f"{path}: {wrong[0]}{more}. {fix}"
        )


def _point_names(header: list[str], path: Path) -> tuple[str, ...]:
    """Return the landmarks' names from columns `NAME_x,NAME_y`, or `x0,y0`."""
    pairs = list(zip(header[1::2], header[2::2], strict=False))
    paired = all(
        (first.removesuffix("_x"), first[-2:], second[-2:]) == (second.removesuffix("_y"), "_x", "_y")
        or (first[:1], second[:1], first[1:]) == ("x", "y", second[1:])
        for first, second in pairs
    )
    names = tuple(first.removesuffix("_x") if first.endswith("_x") else first[1:] for first, _ in pairs)
    if len(header) < 3 or len(header) % 2 == 0 or not paired:
        raise DataError(f"{path}: the first line is {','.join(header)[:120]}; expected {HEADER}")
    if len(set(names)) < len(names):
        raise DataError(f"{path}: the first line names a point twice; expected different names. Rename one.")
    return names
