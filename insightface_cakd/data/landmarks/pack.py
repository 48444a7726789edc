"""Packs images with landmarks into records."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from insightface_cakd.data.folders import IMAGE_SUFFIXES
from insightface_cakd.data.image_damage import image_fault
from insightface_cakd.data.image_header import image_format
from insightface_cakd.data.images import decode_rgb, encode_jpeg, read_bytes
from insightface_cakd.data.landmarks.crop import LANDMARK_SIZE, Box, box_matrix, warp
from insightface_cakd.data.landmarks.detected import DetectedBoxes
from insightface_cakd.data.landmarks.flips import check_flip, flip_of
from insightface_cakd.data.landmarks.lists import PointList, read_list
from insightface_cakd.data.landmarks.records import SUFFIX, Description, write_records
from insightface_cakd.data.landmarks.sets import read_points, set_names
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.atomic import put, work_folder, writing
from insightface_cakd.runtime.folder_lock import only_writer
from insightface_cakd.runtime.progress import Progress

Coordinates = Literal["pixels", "normalised"]
OUTSIDE, UNDETECTED = "points outside the image", "no face that the detector finds"


@dataclass(frozen=True)
class PackOptions:
    """How landmarks are packed.

    Args:
        coordinates: `pixels`, (0, 0) the centre of the first; or `normalised`, 0 and 1 the borders of the image.
        images: folder of the files; None for the folder of the list's name beside it, else that of the list.
        crop: cut a square of this many longer sides of the points' box, or of the detector's; None keeps whole images.
        lift: how far the square is moved upwards, in its own sides.
        detector: an .onnx detector whose box is cropped to; None for the points' own.
        flip: the point that each one becomes in a mirror; None takes what is known of the names and their number.
        leave_out: whether images with points outside, and such without a detected face, are left out; else they are refused.
        quality: of JPEGs that are encoded.
    """

    coordinates: Coordinates
    images: Path | None = None
    crop: float | None = None
    lift: float = 0.0
    detector: Path | None = None
    flip: tuple[int, ...] | None = None
    leave_out: bool = False
    quality: int = 95


@dataclass(frozen=True)
class PointsPacked:
    """What came of packing.

    Args:
        left_out: reason -> number of images.
    """

    images: int
    points: int
    left_out: dict[str, int]
    mirrors: bool

    def lines(self) -> list[str]:
        """Return the sentences of a summary."""
        said = [f"{self.images} images with {self.points} points"]
        said += [f"{count} left out: {reason}" for reason, count in self.left_out.items()]
        return said if self.mirrors else [*said, "which point becomes which in a mirror is not known: no mirroring"]


@dataclass
class _Found:
    """What the first pass over the images found."""

    points: dict[int, np.ndarray] = field(default_factory=dict)
    boxes: dict[int, Box] = field(default_factory=dict)
    unfit: dict[str, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def pack_points(
    source: Path, out: Path, options: PackOptions, name: str = "train", progress: Progress | None = None
) -> PointsPacked:
    """Write `<name>.rec`, `<name>.idx` and `<name>.landmarks.json`.

    Each image has a record of 2 K labels, x and y of each point in pixels of the stored image, as `im2rec --pack-label` writes them.

    Args:
        source: a .csv with a first line of names, or a list of lines `path x1 y1 x2 y2 ...`.
        out: folder, which may have other sets of the same points.
        options: how.
        name: of the set.
        progress: called with (images read, images in all).

    Raises:
        DataError: list, images, points or options cannot be used, or the set exists; nothing is written.
    """
    _check_options(options)
    listed = read_list(source)
    flip = flip_of(listed.names) if options.flip is None else check_flip(options.flip, len(listed.names), "--flip")
    _check_place(out, name, listed)
    folder = options.images or _folder_of(source)
    found = _look(listed, folder, options, progress)
    _refuse_unfit(found, listed, options)
    described = Description(
        points=list(listed.names),
        images=len(found.points),
        flip=None if flip is None else list(flip),
        crop=_said(options),
    )
    _write(out, name, described, lambda: _items(listed, folder, found, options))
    left = {reason: len(files) for reason, files in found.unfit.items()}
    return PointsPacked(len(found.points), len(listed.names), left, flip is not None)


def _check_options(options: PackOptions) -> None:
    for option, value, low, high in (("--crop", options.crop, 0.5, 20), ("--lift", options.lift, -1, 1)):
        if value is not None and not low <= value <= high:
            raise DataError(f"{option} {value:g}: expected {low:g} to {high:g}. Correct it.")
    if options.crop is None and (options.detector is not None or options.lift):
        raise DataError(
            "--detector, --lift: given without --crop; expected its factor. Add --crop 1.5, as InsightFace crops."
        )


def _check_place(out: Path, name: str, listed: PointList) -> None:
    """Check that the set is new, and has as many points as those beside it."""
    if not name or Path(name).name != name:
        raise DataError(f"--name {name}: expected the name of a set, such as train. Correct it.")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; expected a folder for the records. Choose another.")
    there = [path for suffix in (".rec", ".idx", SUFFIX, ".csv") if (path := out / f"{name}{suffix}").exists()]
    if there:
        raise DataError(
            f"{there[0]}: exists already; expected no set of the name {name}. Choose another --name, or remove it."
        )
    for other in set_names(out) if out.is_dir() else ():
        count = len(read_points(out, other).names)
        if count != len(listed.names):
            raise DataError(
                f"{listed.path}: {len(listed.names)} points, the set {other} in {out} has {count}; expected as many. Choose another folder."
            )


def _folder_of(source: Path) -> Path:
    beside = source.with_suffix("")
    return beside if beside != source and beside.is_dir() else source.parent


def _look(listed: PointList, folder: Path, options: PackOptions, progress: Progress | None) -> _Found:
    """Read every image once: its points in pixels, its crop, and what is wrong."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected the images of {listed.path}. Pass --images DIR.")
    if not any((folder / file).suffix.lower() in IMAGE_SUFFIXES for file in listed.files):
        raise DataError(
            f"{listed.path}: names no image, first {listed.files[0]!r}; expected files such as a.jpg. Correct it."
        )
    found = _Found()
    boxes = None if options.detector is None else DetectedBoxes(options.detector)
    for index, file in enumerate(listed.files):
        try:
            rgb = _whole(folder / file)[1]
            _judge(index, rgb, listed, options, boxes, found)
        except DataError as error:
            found.faults.append(str(error))
        if progress is not None:
            progress(index + 1, len(listed.files))
    return found


def _judge(
    index: int, rgb: np.ndarray, listed: PointList, options: PackOptions, boxes: DetectedBoxes | None, found: _Found
) -> None:
    size = np.array(rgb.shape[1::-1], float)
    points = listed.points[index]
    points = points if options.coordinates == "pixels" else points * size - 0.5
    if not ((points >= -0.5) & (points <= size - 0.5)).all():
        found.unfit.setdefault(OUTSIDE, []).append(listed.files[index])
        return
    if options.crop is not None:
        corners = points if boxes is None else boxes.find(rgb, points)
        if corners is None:
            found.unfit.setdefault(UNDETECTED, []).append(listed.files[index])
            return
        found.boxes[index] = Box.around(corners, options.crop, options.lift)
    found.points[index] = points


def _whole(path: Path) -> tuple[bytes, np.ndarray]:
    """Return an image's bytes and pixels."""
    data = read_bytes(path)
    if fault := image_fault(data):
        raise DataError(f"{path}: {fault}; expected a whole image. Replace or remove it.")
    return data, decode_rgb(data, str(path))


def _refuse_unfit(found: _Found, listed: PointList, options: PackOptions) -> None:
    total = len(listed.files)
    if len(found.faults) == 1:
        raise DataError(found.faults[0])
    if found.faults:
        more = f" (and {len(found.faults) - 3} more)" if len(found.faults) > 3 else ""
        raise DataError(f"{len(found.faults)} of {total} images cannot be used: {' | '.join(found.faults[:3])}{more}")
    for reason, files in found.unfit.items():
        if not options.leave_out:
            hint = f" Are the coordinates {options.coordinates}?" if reason == OUTSIDE else ""
            raise DataError(
                f"{listed.path}: {len(files)} of {total} images have {reason}, first {files[0]}; expected none.{hint} Pass --leave-out to "
                "do without them."
            )
    if not found.points:
        counts = Counter({reason: len(files) for reason, files in found.unfit.items()})
        raise DataError(
            f"{listed.path}: no image is left of {total} ({dict(counts)}); expected some. Correct the list."
        )


def _said(options: PackOptions) -> str | None:
    if options.crop is None:
        return None
    around = "points'" if options.detector is None else "detector's"
    return f"{options.crop:g} longer sides of the {around} box, lifted by {options.lift:g}, {LANDMARK_SIZE} pixels"


def _items(listed: PointList, folder: Path, found: _Found, options: PackOptions) -> Iterator[tuple[bytes, list[float]]]:
    """Yield each record's image and labels."""
    for index, points in found.points.items():
        data, rgb = _whole(folder / listed.files[index])
        if index in found.boxes:
            rgb, points = warp(rgb, points, box_matrix(found.boxes[index]), LANDMARK_SIZE)
            data = encode_jpeg(rgb, options.quality)
        elif image_format(data) == "other":
            data = encode_jpeg(rgb, options.quality)
        yield data, points.reshape(-1).tolist()


def _write(
    out: Path, name: str, described: Description, items: Callable[[], Iterator[tuple[bytes, list[float]]]]
) -> None:
    """Write the three files, the description last, or none of them."""
    last = f"{name}{SUFFIX}"
    with (
        only_writer(out, DataError),
        writing(out / last, DataError, str(out)) as temporary,
        work_folder(temporary) as folder,
    ):
        write_records(folder, name, described, items())
        for suffix in (".rec", ".idx"):
            put(folder / f"{name}{suffix}", out / f"{name}{suffix}")
        put(folder / last, temporary)
