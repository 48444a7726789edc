"""Aligns photos in several processes, keeping their order."""

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2

from insightface_cakd.data.align.detector import Detector
from insightface_cakd.data.align.photo import Outcome, Rules, align_photo
from insightface_cakd.errors import DataError

# Photos queued per worker: enough to keep it busy, few enough that their faces fit in memory.
AHEAD = 16

_own: tuple[Detector, Rules] | None = None


def align_all(photos: Sequence[Path], detector: Path, size: int, rules: Rules, workers: int) -> Iterator[Outcome]:
    """Yield the outcome of each photo, in their order.

    The outcomes do not depend on the number of workers. With one the work is done in this process.
    """
    own = Detector(detector, size)
    if workers == 1 or len(photos) < 2:
        yield from (align_photo(photo, own, rules) for photo in photos)
        return
    # Not fork: onnxruntime's threads and OpenCV's locks do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(photos)), context, _start, (detector, size, rules))
    waiting: deque[tuple[Path, Future[Outcome]]] = deque()
    try:
        for photo in photos:
            waiting.append((photo, pool.submit(_align, photo)))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft()[1].result()
        while waiting:
            yield waiting.popleft()[1].result()
    except BrokenProcessPool as error:
        raise DataError(
            f"align: a worker was killed near {waiting[0][0] if waiting else photos[-1]}, probably for want of memory; "
            f"nothing was written. Take fewer than {workers} workers."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(detector: Path, size: int, rules: Rules) -> None:
    global _own
    cv2.setNumThreads(1)
    _own = (Detector(detector, size), rules)


def _align(photo: Path) -> Outcome:
    if _own is None:
        raise RuntimeError("the worker was not started by _start")
    return align_photo(photo, *_own)
