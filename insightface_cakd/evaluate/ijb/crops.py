"""Aligned faces of an IJB tree in batches, decoded ahead by threads."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from insightface_cakd.data.align.similarity import align
from insightface_cakd.data.image_damage import image_fault
from insightface_cakd.data.images import FACE_SIZE

# Images that a thread decodes at a time, and batches that are ready or being decoded.
PIECE = 8
AHEAD = 3

Piece = list[tuple[np.ndarray | None, str]]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Batch:
    """Consecutive faces.

    Args:
        images: uint8 (B, 112, 112, 3) RGB; black where the image is corrupt.
        corrupt: row -> what is wrong with the image.
    """

    start: int
    images: np.ndarray
    corrupt: dict[int, str]


def aligned_batches(
    folder: Path, names: list[str], points: np.ndarray, start: int, batch_size: int, workers: int
) -> Iterator[Batch]:
    """Yield batches of faces from row `start` on, in their order.

    The batches do not depend on `workers`. OpenCV decodes and warps without Python's lock, so threads are enough.

    Args:
        points: float32 (N, 5, 2).
    """
    with _threads(workers) as pool:

        def ask(first: int) -> Callable[[], Batch]:
            end = min(first + batch_size, len(names))
            pieces = range(first, end, PIECE)
            asked = [pool.submit(_piece, folder, names, points, at, min(at + PIECE, end)) for at in pieces]
            return lambda: _batch(first, [face for future in asked for face in future.result()])

        yield from _in_order(ask, range(start, len(names), batch_size), AHEAD)


def batches_in_threads(
    folder: Path,
    names: list[str],
    points: np.ndarray,
    start: int,
    batch_size: int,
    work: Callable[[Batch], Found],
    threads: int,
) -> Iterator[Found]:
    """Yield what `work` makes of each batch, in order.

    The batches are those of `aligned_batches`. The thread that decodes a batch works on it too.
    """

    def do(first: int) -> Found:
        return work(_batch(first, _piece(folder, names, points, first, min(first + batch_size, len(names)))))

    with _threads(threads) as pool:
        starts = range(start, len(names), batch_size)
        yield from _in_order(lambda first: pool.submit(do, first).result, starts, 2 * threads)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads; what they have not begun at the end of the block is left undone."""
    with ThreadPoolExecutor(count) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(ask: Callable[[int], Callable[[], Found]], starts: range, ahead: int) -> Iterator[Found]:
    """Yield what is asked for, in order, with some asked for ahead."""
    waiting = deque(map(ask, starts[:ahead]))
    for number in range(len(starts)):
        found = waiting.popleft()()
        waiting.extend(map(ask, starts[number + ahead : number + ahead + 1]))
        yield found


def read_face(path: Path, points: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Read and align a face by its landmarks (5, 2).

    Returns uint8 (112, 112, 3) RGB and an empty text, or None and what is wrong with the image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    if fault := image_fault(data):
        return None, fault
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        return None, f"{len(data)} bytes that are no image OpenCV reads"
    face = align(pixels, points)
    return (face, "") if face is not None else (None, "its five points are one point")


def _piece(folder: Path, names: list[str], points: np.ndarray, start: int, end: int) -> Piece:
    return [read_face(folder / names[row], points[row]) for row in range(start, end)]


def _batch(start: int, faces: Piece) -> Batch:
    images = np.zeros((len(faces), FACE_SIZE, FACE_SIZE, 3), np.uint8)
    corrupt = {}
    for at, (face, fault) in enumerate(faces):
        if face is None:
            corrupt[start + at] = fault
        else:
            images[at] = face
    return Batch(start, images, corrupt)
