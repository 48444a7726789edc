"""Images with landmarks: a CSV beside a folder of images."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from insightface_cakd.data.images import decode_rgb, read_bytes
from insightface_cakd.errors import DataError

HEADER = "expected a first line `file,<point>_x,<point>_y,...` and a line of pixels for each image."


@dataclass(frozen=True)
class PointSet:
    """Images and their landmarks (N, K, 2), float32, in pixels."""

    folder: Path
    files: tuple[str, ...]
    points: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> np.ndarray:
        """Return an image, uint8 (H, W, 3), RGB."""
        path = self.folder / self.files[index]
        return decode_rgb(read_bytes(path), str(path))

    def placed(self, index: int, image: np.ndarray | None = None) -> np.ndarray:
        """Return an image's landmarks (K, 2) in units of the image.

        That is p = 2 x / width - 1, and with the height for y. `image` is given if it has been read already.
        """
        height, width = (self.image(index) if image is None else image).shape[:2]
        return self.points[index] * 2 / np.array([width, height], np.float32) - 1


def read_points(folder: Path, name: str) -> PointSet:
    """Read `<folder>/<name>.csv`, whose images are in `<folder>/<name>/`."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        found = ", ".join(sorted(file.stem for file in folder.glob("*.csv"))) or "none"
        raise DataError(f"{path}: no such file; found: {found}. Write it: {HEADER}")
    with path.open(newline="", encoding="utf-8") as lines:
        try:
            header, *rows = [row for row in csv.reader(lines) if row]
        except (ValueError, csv.Error) as error:
            raise DataError(f"{path}: no CSV ({error}); {HEADER}") from error
    names = _point_names(header, path)
    points = np.empty((len(rows), len(names), 2), np.float32)
    for number, row in enumerate(rows, start=2):
        try:
            points[number - 2] = np.array(row[1:], dtype=np.float64).reshape(-1, 2)
        except ValueError as error:
            raise DataError(
                f"{path}: line {number} has {len(row)} columns; expected {len(header)}, numbers after the first."
            ) from error
    if not len(rows) or not np.isfinite(points).all():
        raise DataError(f"{path}: {'no image' if not len(rows) else 'a point is not a number'}; {HEADER}")
    return PointSet(folder / name, tuple(row[0] for row in rows), points, names)


def _point_names(header: list[str], path: Path) -> tuple[str, ...]:
    """Return the landmarks' names from columns `NAME_x,NAME_y`, or `x0,y0`."""
    pairs = list(zip(header[1::2], header[2::2], strict=False))
    names = tuple(first.removesuffix("_x") for first, _ in pairs)
    paired = all(
        (first.removesuffix("_x"), first[:1]) == (second.removesuffix("_y"), second[:1])
        or (first[:1], second[:1]) == ("x", "y")
        for first, second in pairs
    )
    if len(header) < 3 or len(header) % 2 == 0 or not paired:
        raise DataError(f"{path}: the first line is {','.join(header)[:120]}; {HEADER}")
    return names
