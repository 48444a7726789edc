"""Verification sets: InsightFace's `.bin`, a pickled pair (encoded images, same or not)."""

import hashlib
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from insightface_cakd.data.bin_pickle import load_pickle
from insightface_cakd.data.folders import writing
from insightface_cakd.data.images import FACE_SIZE, decode_rgb, face_bytes, read_bytes
from insightface_cakd.data.pair_people import people_of_pairs
from insightface_cakd.data.pairs import Pair, draw_pairs, read_pairs
from insightface_cakd.errors import DataError
from insightface_cakd.runtime.progress import Progress


@dataclass(frozen=True, eq=False)
class VerificationSet:
    """Pairs of faces; pair i is images 2i and 2i + 1.

    Args:
        images: uint8 (2P, 112, 112, 3) RGB.
        same: bool (P,), True where both images show the same person.
        people: (P, 2), numbers of the people of each pair, see `people_of_pairs`; None where they are not known.
    """

    images: np.ndarray
    same: np.ndarray
    people: np.ndarray | None = None

    @cached_property
    def sha256(self) -> str:
        """Identifies images and answers."""
        return hashlib.sha256(self.images.tobytes() + self.same.tobytes()).hexdigest()


def read_bin(path: str | os.PathLike[str]) -> tuple[list[bytes], list[bool]]:
    """Return the 2P encoded images and P booleans of a `.bin`."""
    content = load_pickle(read_bytes(path), str(path))
    if not (isinstance(content, (tuple, list)) and len(content) == 2 and all(map(_is_sequence, content))):
        raise DataError(f"{path}: its pickle is no pair (images, same); expected an InsightFace .bin. Make it anew.")
    # An image of several pairs is copied once.
    known: dict[int, bytes] = {}
    for i, image in enumerate(content[0]):
        if id(image) not in known:
            known[id(image)] = _image_bytes(image, f"{path}: image {i}")
    encoded = [known[id(image)] for image in content[0]]
    same = [_boolean(value, f"{path}: pair {i}") for i, value in enumerate(content[1])]
    _require_pairs(path, encoded, same)
    return encoded, same


def load_bin(path: str | os.PathLike[str]) -> VerificationSet:
    """Read and decode a `.bin`.

    Where the width is not 112, the shorter side is resized to 112 with bicubic interpolation, as upstream does.

    Args:
        path: the `.bin`.

    Raises:
        DataError: as `read_bin`; or an image cannot be decoded, or is not 112 x 112 after resizing.
    """
    encoded, same = read_bin(path)
    return decode_pairs(path, encoded, same)


def decode_pairs(
    path: str | os.PathLike[str], encoded: Sequence[bytes], same: Sequence[bool], every: int = 1
) -> VerificationSet:
    """Decode what `read_bin` returned, as `load_bin` does.

    Of the pairs, only each `every`-th is decoded and returned.
    """
    kept = [2 * pair + side for pair in range(0, len(same), every) for side in (0, 1)]
    try:
        images = np.empty((len(kept), FACE_SIZE, FACE_SIZE, 3), np.uint8)
    except MemoryError as error:
        raise DataError(
            f"{path}: {len(kept)} images do not fit in memory; expected thousands. Split the set."
        ) from error
    for row, i in enumerate(kept):
        images[row] = _to_face(decode_rgb(encoded[i], f"{path}: image {i}"), f"{path}: image {i}")
    return VerificationSet(images, np.array(same, bool)[::every], people_of_pairs(encoded, same)[::every])


def write_bin(path: str | os.PathLike[str], encoded: Sequence[bytes], same: Sequence[bool]) -> None:
    """Write encoded images and booleans as a `.bin` that arcface_torch reads.

    Args:
        path: the file to write; an existing file is replaced.
        encoded: 2P images, JPEG or PNG; pair i consists of images 2i and 2i + 1.
        same: P booleans, True where both images show the same person.

    Raises:
        DataError: there are no pairs, the counts do not match, or the disk is full; an existing file then stays.
    """
    images, booleans = [bytes(image) for image in encoded], [bool(value) for value in same]
    _require_pairs(path, images, booleans)
    with writing(path) as temporary, temporary.open("wb") as file:
        pickle.dump((images, booleans), file, protocol=4)


def make_bin(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    pairs: int = 6000,
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Write a verification set from a folder of people or a list.

    From a folder with one subfolder per person, distinct pairs are drawn, half same and half different, and arranged so
    that every tenth (a fold of the protocol) has equal halves. From a list, the pairs and their order are taken as they
    are. A JPEG or PNG of 112 x 112 keeps its bytes; square images of other sizes or formats are resized where needed
    and encoded as JPEG of quality 95.

    Args:
        source: the folder; or a text file of lines `first second 0|1`, with paths relative to it (see `read_pairs`).
        out: the `.bin` to write; an existing file is replaced.
        pairs: number of pairs to draw from a folder, a multiple of 20; ignored for a list.
        seed: seed of the draw; the same folder, number and seed give the same file.
        progress: called with (images done, images in all).

    Raises:
        DataError: too few people or images for the pairs, an image that is missing, broken or not square, a line that
            is not a pair, or the disk is full; nothing is written.
    """
    chosen: list[Pair] = draw_pairs(source, pairs, seed) if Path(source).is_dir() else read_pairs(source)
    paths = [path for pair in chosen for path in (pair.first, pair.second)]
    known: dict[Path, bytes] = {}
    for done, path in enumerate(paths, start=1):
        if path not in known:
            known[path] = face_bytes(path)[0]
        if progress:
            progress(done, len(paths))
    write_bin(out, [known[path] for path in paths], [pair.same for pair in chosen])


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _image_bytes(image: Any, where: str) -> bytes:
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        return image.tobytes()
    if isinstance(image, (bytes, bytearray)):
        return bytes(image)
    raise DataError(f"{where}: {type(image).__name__}; expected the bytes of an encoded image. Make the file anew.")


def _boolean(value: Any, where: str) -> bool:
    if isinstance(value, (bool, int, np.bool_, np.integer)) and value in (0, 1):
        return bool(value)
    # Python refuses to write numbers of thousands of digits, also within lists.
    short = value is None or (isinstance(value, int) and value.bit_length() < 64)
    said = str(value) if short else f"a value of type {type(value).__name__}"
    raise DataError(f"{where}: {said} says neither same nor different; expected True or False. Make the file anew.")


def _require_pairs(path: str | os.PathLike[str], images: list[bytes], same: list[bool]) -> None:
    if not same or len(images) != 2 * len(same):
        raise DataError(
            f"{path}: {len(images)} images for {len(same)} pairs; expected {2 * len(same) or 'at least 2'}. "
            "A .bin has two images a pair: make it anew."
        )


def _to_face(rgb: np.ndarray, where: str) -> np.ndarray:
    height, width = rgb.shape[:2]
    short = min(height, width)
    size = (width, height) if width == FACE_SIZE else (FACE_SIZE * width // short, FACE_SIZE * height // short)
    if size != (FACE_SIZE, FACE_SIZE):
        raise DataError(
            f"{where}: {width} x {height} pixels; expected an aligned square face, 112 x 112. Align it first."
        )
    return rgb if width == FACE_SIZE else cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
