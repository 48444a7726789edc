"""Aligns a folder of photos into a training or verification set."""

import hashlib
import json
import multiprocessing
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2

from insightface_cakd import __version__
from insightface_cakd.data.align.blocks import Block, as_block, outcomes_of
from insightface_cakd.data.align.detector import Detector
from insightface_cakd.data.align.photo import Outcome, Rules, align_photo
from insightface_cakd.data.align.photos import Photos, find_photos, photos_sha256
from insightface_cakd.data.align.report import Alignment, LeftOut, require_enough
from insightface_cakd.data.bins import make_bin
from insightface_cakd.data.folders import naming, require_new_folder, writing
from insightface_cakd.data.pack import pack
from insightface_cakd.data.pairs import draw_pairs
from insightface_cakd.errors import DataError, RunError
from insightface_cakd.runtime.atomic import work_folder
from insightface_cakd.runtime.long_job import LongJob, Phase, long_job
from insightface_cakd.runtime.progress import Progress
from insightface_cakd.runtime.ranks import first_decides, gathered, rank
from insightface_cakd.runtime.workers import PATIENCE

Kind = Literal["rec", "folder", "bin"]
REPORT = "align.json"
# Photos queued per worker: enough to keep it busy, few enough that their faces fit in memory.
AHEAD = 16
# Photos of a block, which is lost when the work is killed within it.
BLOCK = 64

_own: tuple[Detector, Rules] | None = None


@dataclass(frozen=True)
class Work:
    """How photos are aligned, and what is made of them.

    Args:
        kind: `rec` (a folder with train.rec), `folder` (aligned faces), or `bin` (a verification set).
        size: side of the detector's input in pixels, a multiple of 32; 0 for insightface's own two sizes.
        max_corrupt: largest fraction of files that may be damaged, in [0, 1].
        pairs: number of pairs of a `bin`, a multiple of 20.
    """

    detector: Path
    kind: Kind = "rec"
    rules: Rules = field(default_factory=Rules)
    size: int = 0
    workers: int = 1
    max_corrupt: float = 0.1
    pairs: int = 6000
    seed: int = 0


def align_photos(folder: Path, out: Path, work: Work, progress: Progress | None = None) -> Alignment:
    """Detect, choose and align one face per photo, and write the faces.

    `out` is written completely or not at all, with a report, `align.json`, in it, or beside a `bin`. Photos that are
    not sorted by person can only be made into a `folder`. All ranks of a group share the photos, and a stopped call is gone on
    with: the files are the same, see `long_job`.
    """
    with first_decides():
        if rank() == 0:
            _require_place(folder, out, work)
    photos = find_photos(folder)
    if not photos.people and work.kind != "folder":
        raise DataError(
            f"{folder}: its photos lie side by side; a {work.kind} needs one subfolder for each person. Sort them, or "
            "take --format folder."
        )
    if work.kind == "bin":
        # Photos give at most one face each: pairs that cannot be drawn from them are refused before hours of work.
        draw_pairs(folder, work.pairs, work.seed)
    own = Detector(work.detector, work.size)
    digest = {"file": work.detector.name, "sha256": hashlib.sha256(work.detector.read_bytes()).hexdigest()}
    origin = {
        "kind": "aligned photos",
        "photos": photos_sha256(folder, photos),
        "detector": digest["sha256"],
        "rules": asdict(work.rules),
        "size": work.size,
        "version": __version__,
    }
    phase = Phase("aligned", len(photos.files), BLOCK)
    with long_job(out, origin, DataError) as job:
        _align_mine(photos.files, own, job, phase, work, progress)
        blocks, made = job.blocks(phase), None
        with first_decides():
            if rank() == 0:
                made = _write_all(folder, out, photos, blocks, work, digest)
        (alignment, *_) = gathered(made)
    assert alignment is not None
    return alignment


def _require_place(folder: Path, out: Path, work: Work) -> None:
    if work.kind == "bin" and out.exists():
        raise DataError(f"{out}: exists already; expected a new file. Choose another, or remove it first.")
    require_new_folder(out, folder)


def _write_all(
    folder: Path, out: Path, photos: Photos, blocks: Iterator[Block], work: Work, digest: dict[str, str]
) -> Alignment:
    """Write what was asked for, and its report."""
    with writing(out) as temporary, work_folder(temporary) as scratch:
        faces = scratch / "faces"
        alignment = _write_faces(folder, photos, blocks, faces)
        require_enough(alignment, folder, work.max_corrupt)
        _write(faces, temporary, alignment, work, folder)
        text = json.dumps(alignment.as_json(work.rules, work.size, digest), indent=1) + "\n"
        if work.kind == "bin":
            with writing(report_path(out, work.kind)) as report:
                report.write_text(text, encoding="utf-8")
        else:
            (temporary / REPORT).write_text(text, encoding="utf-8")
    return alignment


def report_path(out: Path, kind: Kind) -> Path:
    """Return the path of an alignment's report."""
    return out.with_name(f"{out.name}.{REPORT}") if kind == "bin" else out / REPORT


def _align_mine(
    photos: Sequence[Path], own: Detector, job: LongJob, phase: Phase, work: Work, progress: Progress | None
) -> None:
    """Align the blocks of this rank that are missing."""
    spans = job.mine(phase)
    outcomes = _align_all([photos[number] for span in spans.values() for number in span], own, work)
    for block, part in spans.items():
        done = job.done(phase)
        found = []
        for outcome in islice(outcomes, len(part)):
            found.append(outcome)
            if progress:
                progress(min(done + len(found), len(photos)), len(photos))
        job.save(phase, block, as_block(found))


def _write_faces(folder: Path, photos: Photos, blocks: Iterator[Block], faces: Path) -> Alignment:
    """Write the aligned faces into the folder `faces`."""
    alignment = Alignment(len(photos.files), skipped=photos.skipped)
    outcomes = (outcome for block in blocks for outcome in outcomes_of(block))
    for photo, crop, outcome in zip(photos.files, photos.crops, outcomes, strict=True):
        if outcome.reason is None:
            file = faces / crop
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(outcome.jpeg)
            alignment.aligned += 1
            alignment.chosen_of_several += outcome.faces > 1
        else:
            alignment.left_out.append(LeftOut(photo.relative_to(folder).as_posix(), outcome.reason, outcome.detail))
    alignment.without_faces = [name for name in photos.people if not (faces / name).is_dir()]
    alignment.people = len(photos.people) - len(alignment.without_faces)
    return alignment


def _align_all(photos: Sequence[Path], own: Detector, work: Work) -> Iterator[Outcome]:
    """Yield the outcome of each photo, in order, whatever the number of workers."""
    detector, size, rules, workers = work.detector, work.size, work.rules, work.workers
    if workers == 1 or len(photos) < 2:
        yield from (align_photo(photo, own, rules) for photo in photos)
        return
    # Not fork: onnxruntime's threads and OpenCV's locks do not survive a fork.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(workers, len(photos)), context, _start_worker, (detector, size, rules))
    waiting: deque[tuple[Path, Future[Outcome]]] = deque()
    try:
        for photo in photos:
            waiting.append((photo, pool.submit(_align_one, photo)))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft()[1].result(PATIENCE)
        while waiting:
            yield waiting.popleft()[1].result(PATIENCE)
    except (BrokenProcessPool, TimeoutError) as error:
        place = waiting[0][0] if waiting else photos[-1]
        fate = "was killed, probably for want of memory" if isinstance(error, BrokenProcessPool) else "gives no answer"
        raise RunError(
            f"align: a worker {fate}, near {place}; expected one that lives as long as the run. Take fewer than {workers} workers: the "
            "next call goes on where this one was."
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # Whatever happened: the pool would wait for one that is stopped.
        while left := set(multiprocessing.active_children()) - others:
            for worker in left:
                worker.kill()
                worker.join(1)


def _start_worker(detector: Path, size: int, rules: Rules) -> None:
    global _own
    cv2.setNumThreads(1)
    _own = (Detector(detector, size), rules)


def _align_one(photo: Path) -> Outcome:
    if _own is None:
        raise RuntimeError("the worker was not started by _start_worker")
    return align_photo(photo, *_own)


def _write(faces: Path, out: Path, alignment: Alignment, work: Work, folder: Path) -> None:
    if work.kind == "folder":
        shutil.move(faces, out)
        return
    if alignment.people < 2:
        raise DataError(
            f"{folder}: faces of {alignment.people} people; a {work.kind} needs at least 2. Add photos of others."
        )
    with naming(faces, folder):
        if work.kind == "bin":
            make_bin(faces, out, work.pairs, work.seed)
        else:
            pack(faces, out, work.rules.quality)
