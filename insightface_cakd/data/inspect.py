"""Inspects a record folder: `info` summarises it, `check` finds what is wrong."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from insightface_cakd.data.audit import Audit, Finding
from insightface_cakd.data.image_header import image_format
from insightface_cakd.data.images import decode_rgb
from insightface_cakd.data.records import FaceRecords, open_records
from insightface_cakd.runtime.progress import Progress

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_SAMPLE = 64


@dataclass(frozen=True)
class Info:
    """Content of a record folder.

    Args:
        identities: number of classes, from the header, or the largest label plus one.
        key_gaps: number of keys missing between the smallest and the largest image key; harmless in im2rec style.
        formats: counts of `jpeg`, `png`, `other` among up to 64 images spread over the file.
        pixels: counts of (width, height) among the same images.
    """

    folder: Path
    style: Literal["insightface", "im2rec"]
    identities: int
    empty_identities: int
    images: int
    key_gaps: int
    images_per_identity: tuple[float, ...]
    image_bytes: tuple[float, ...]
    formats: dict[str, int]
    pixels: dict[tuple[int, int], int]

    def __str__(self) -> str:
        sampled = sum(self.formats.values())
        formats = ", ".join(f"{count} {name}" for name, count in self.formats.items())
        pixels = ", ".join(f"{count} of {width} x {height}" for (width, height), count in self.pixels.items())
        lines = (
            f"{self.folder}: {self.images} images of {self.identities} people, {self.style} style",
            f"images per person: {_spread(self.images_per_identity)}",
            f"bytes per image: {_spread(self.image_bytes)}",
            f"{sampled} images looked at: {formats}; {pixels} pixels",
            f"people without images: {self.empty_identities}; gaps in the keys: {self.key_gaps}",
        )
        return "\n".join(lines)


def info(folder: str | os.PathLike[str]) -> Info:
    """Count people and images, from headers and 64 sampled images."""
    faces = FaceRecords(folder)
    scanned, labels = faces.reader.scan(faces.keys), faces.labels()
    counts = np.bincount(labels)
    formats: Counter[str] = Counter()
    pixels: Counter[tuple[int, int]] = Counter()
    for index in np.unique(np.linspace(0, len(faces) - 1, _SAMPLE).round().astype(int)):
        key = int(faces.keys[index])
        payload = faces.reader.read(key).payload
        height, width = decode_rgb(payload, faces.reader.where(key)).shape[:2]
        formats[image_format(payload)] += 1
        pixels[width, height] += 1
    return Info(
        folder=Path(folder),
        style=faces.style,
        identities=faces.num_classes,
        empty_identities=max(faces.num_classes - int((counts > 0).sum()), 0),
        images=len(faces),
        key_gaps=int(faces.keys.max() - faces.keys.min() + 1 - len(np.unique(faces.keys))),
        images_per_identity=tuple(np.quantile(counts[counts > 0], QUANTILES).tolist()),
        image_bytes=tuple(np.quantile(scanned["payload_bytes"], QUANTILES).tolist()),
        formats=dict(formats),
        pixels=dict(pixels),
    )


def _spread(values: tuple[float, ...]) -> str:
    low, quarter, middle, three, high = (f"{value:g}" for value in values)
    return f"{low} to {high}, median {middle}, quartiles {quarter} and {three}"


def check(
    folder: str | os.PathLike[str], num_classes: int | None = None, progress: Progress | None = None
) -> list[Finding]:
    """Return everything that is wrong with a record folder, in file order.

    Every byte is read and every image decoded. Checked are the frame of each record, whether index and file name the
    same records, the header's key ranges, each label (an integer, from 0, below `num_classes` or the header's number),
    each image (decodes, complete, 112 x 112), classes without images, gaps in the keys, and `property`. Of each kind
    the first 20 findings are listed, then the number of others. `progress` counts bytes.
    """
    audit = Audit(open_records(folder), Path(folder), num_classes)
    audit.read_all(progress)
    return audit.conclude()
