"""Aligned faces of an IJB tree in batches, decoded ahead by threads."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
    folder: Path, names: list[str], points: np.ndarray, batches: Sequence[range], workers: int
) -> Iterator[Batch]:
    """Yield batches of faces, in their order.

    OpenCV decodes and warps without Python's lock, so threads are enough.

    Args:
        points: float32 (N, 5, 2).
        batches: the rows of each.
    """
    with _threads(workers) as pool:

        def ask(rows: range) -> Callable[[], Batch]:
            pieces = [rows[at : at + PIECE] for at in range(0, len(rows), PIECE)]
            asked = [pool.submit(_piece, folder, names, points, piece) for piece in pieces]
            return lambda: _batch(rows.start, [face for future in asked for face in future.result()])

        yield from _in_order(ask, batches, AHEAD)


def batches_in_threads(
    folder: Path,
    names: list[str],
    points: np.ndarray,
    batches: Sequence[range],
    work: Callable[[Batch], Found],
    threads: int,
) -> Iterator[Found]:
    """Yield what `work` makes of each batch, in order.

    The batches are those of `aligned_batches`. The thread that decodes a batch works on it too.
    """

    def do(rows: range) -> Found:
        return work(_batch(rows.start, _piece(folder, names, points, rows)))

    with _threads(threads) as pool:
        yield from _in_order(lambda rows: pool.submit(do, rows).result, batches, 2 * threads)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads; what they have not begun at the end of the block is left undone."""
    with ThreadPoolExecutor(count) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(ask: Callable[[range], Callable[[], Found]], batches: Sequence[range], ahead: int) -> Iterator[Found]:
    """Yield what is asked for, in order, with some asked for ahead."""
    waiting = deque(map(ask, batches[:ahead]))
    for number in range(len(batches)):
        found = waiting.popleft()()
        waiting.extend(map(ask, batches[number + ahead : number + ahead + 1]))
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


def _piece(folder: Path, names: list[str], points: np.ndarray, rows: range) -> Piece:
    return [read_face(folder / names[row], points[row]) for row in rows]


def _batch(start: int, faces: Piece) -> Batch:
    images = np.zeros((len(faces), FACE_SIZE, FACE_SIZE, 3), np.uint8)
    corrupt = {}
    for at, (face, fault) in enumerate(faces):
        if face is None:
            corrupt[start + at] = fault
        else:
            images[at] = face
    return Batch(start, images, corrupt)
