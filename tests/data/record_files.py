"""Small record folders and folders of people for the data tests."""

import hashlib
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

MAGIC = struct.pack("<I", 0xCED7230A)


def picture(seed: int, height: int = 112, width: int = 112) -> np.ndarray:
    """Return a smooth random picture, uint8 RGB, which JPEG hardly changes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def jpeg(seed: int, height: int = 112, width: int = 112) -> bytes:
    """Encode through OpenCV directly: independent of the package."""
    return cv2.imencode(".jpg", picture(seed, height, width)[..., ::-1])[1].tobytes()


def image_record(label: float, key: int, payload: bytes) -> bytes:
    """Lay out a record with one label by hand."""
    return struct.pack("<IfQQ", 0, label, key, 0) + payload


def labelled_record(labels: tuple[float, ...], key: int, payload: bytes = b"") -> bytes:
    """Lay out a record with its labels behind the header by hand."""
    return struct.pack("<IfQQ", len(labels), 0.0, key, 0) + struct.pack(f"<{len(labels)}f", *labels) + payload


def whole_part(data: bytes, flag: int = 0) -> bytes:
    """Frame one part by hand."""
    return MAGIC + struct.pack("<I", flag << 29 | len(data)) + data + bytes(-len(data) % 4)


def write_set(folder: Path, records: dict[int, bytes]) -> Path:
    """Write `train.rec` and `train.idx` of whole-part records by hand, in the dict's order."""
    folder.mkdir(parents=True, exist_ok=True)
    content, lines = b"", []
    for key, data in records.items():
        lines.append(f"{key}\t{len(content)}\n")
        content += whole_part(data)
    (folder / "train.rec").write_bytes(content)
    (folder / "train.idx").write_text("".join(lines))
    return folder


def insightface_set(folder: Path, people: list[int]) -> Path:
    """Write an InsightFace-style set by hand; `people` holds the number of images of each."""
    count = sum(people)
    records = {0: labelled_record((count + 1, count + 1 + len(people)), 0)}
    ranges, key = [], 1
    for label, images in enumerate(people):
        ranges.append((key, key + images))
        for _ in range(images):
            records[key] = image_record(label, key, jpeg(key))
            key += 1
    for number, keys in enumerate(ranges, start=count + 1):
        records[number] = labelled_record(keys, number)
    return write_set(folder, records)


def people_folder(root: Path, counts: dict[str, int]) -> Path:
    """Make one folder a person with 112 x 112 JPEG files `0.jpg`, `1.jpg`, ... ."""
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for image in range(count):
            (root / name / f"{image}.jpg").write_bytes(jpeg(1000 * number + image))
    return root


@contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: the system itself refuses the write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def content(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def tagged(jpeg: bytes, orientation: int) -> bytes:
    """Return a JPEG with an EXIF orientation, 1 upright to 8."""
    tag = struct.pack(">H", 1) + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + tag
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
