"""`python -m benchmarks ijb`: an evaluation of IJB-C's size.

It runs on random embeddings, against upstream's own functions on the same arrays.
"""

import contextlib
import io
import multiprocessing
import os
import resource
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ijb_draw import Size, draw, write_lists
from insightface_cakd.evaluate.ijb.lists import find_tree, read_faces
from insightface_cakd.evaluate.ijb.measure import read_lists
from insightface_cakd.evaluate.ijb.presets import FARS, PRESETS
from insightface_cakd.evaluate.ijb.roc import roc_of
from insightface_cakd.evaluate.ijb.scores import score_pairs
from insightface_cakd.evaluate.ijb.store import Embeddings
from insightface_cakd.evaluate.ijb.templates import Weighting, pool_templates

STEPS = ("lists", "templates", "scores", "roc")
GIB = 2**30

Side = Callable[[np.ndarray, Path, Path | None], tuple["Cost", np.ndarray]]


@dataclass(frozen=True)
class Cost:
    """Cost of one side, ours or upstream's.

    Args:
        seconds: step of `STEPS` -> its seconds.
        processor: CPU seconds of all threads together, which depend little on the load of the machine.
        peak: peak bytes of the process, including the arrays that it was given.
        tars: TAR at the FAR nearest to each of `FARS`.
    """

    seconds: dict[str, float]
    processor: float
    peak: int
    tars: list[float]


def bench_ijb(size: Size, checkout: Path | None) -> str:
    """Return a table of seconds and memory of lists, templates, scores and ROC.

    Each side runs in its own process, and reads the same lists from files.

    Args:
        size: size of the random set; the default of `Size` is that of IJB-C.
        checkout: checkout of arcface_torch whose `onnx_ijbc.py` is timed; None times ours alone.

    Raises:
        RunError: the checkout cannot be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_lists(draw(size), Path(folder))
        ours = _apart(_ours, size, None, Path(folder) / "ours.npy")
        lines = [
            f"{size.images} images, {size.templates} templates, {size.pairs} pairs {'of' if size.among else 'between'} "
            f"{'all templates' if size.among else 'galleries and probes'}, width {size.width}, {os.cpu_count()} cores",
            _line("ours", ours),
        ]
        if checkout is not None:
            theirs = _apart(_theirs, size, checkout, Path(folder) / "theirs.npy")
            one, other = (np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in ("ours", "theirs"))
            lines += [_line("upstream", theirs), _ratios(ours, theirs)]
            lines.append(
                f"largest difference of scores {np.abs(one - other).max():.1e}; TAR at FAR 1e-6 to 1e-1 "
                + ("equal" if ours.tars == theirs.tars else f"differs: {ours.tars} and {theirs.tars}")
            )
    return "\n".join(lines)


def _apart(side: Side, size: Size, checkout: Path | None, saved: Path) -> Cost:
    """Run one side in a fresh process, with its own peak memory.

    The lists are beside the file for the scores.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (side, size, checkout, saved))


def _run(side: Side, size: Size, checkout: Path | None, saved: Path) -> Cost:
    cost, scores = side(draw(size).features, saved.parent, checkout)
    np.save(saved, scores)
    return cost


def _ours(features: np.ndarray, root: Path, _: Path | None) -> tuple[Cost, np.ndarray]:
    preset, workers = PRESETS["eval_ijbc"], os.cpu_count() or 1
    clock = _Clock()
    tree = find_tree(root, "IJBC")
    faces = read_faces(tree, workers)
    pairs = read_lists(tree, faces, "11", workers).pairs
    assert pairs is not None  # of the protocol asked for
    clock.lap("lists")
    weighting = Weighting(Embeddings(features, None, {}), faces.scores, preset.mode("N1D0F0"), preset)
    templates = pool_templates(weighting, faces.templates, faces.medias, workers)
    clock.lap("templates")
    scores = score_pairs(templates, pairs, workers)
    clock.lap("scores")
    roc = roc_of(scores, pairs.same)
    tars = [roc.tar_nearest(far) for far in FARS]
    clock.lap("roc")
    return Cost(clock.seconds, clock.processor, _peak(), tars), scores


def _theirs(features: np.ndarray, root: Path, checkout: Path | None) -> tuple[Cost, np.ndarray]:
    from sklearn.metrics import roc_curve

    meta = root / "IJBC" / "meta"
    with upstream_script(checkout, "onnx_ijbc.py") as script:
        clock = _Clock()
        templates, medias = script["read_template_media_list"](meta / "ijbc_face_tid_mid.txt")
        first, second, label = script["read_template_pair_list"](meta / "ijbc_template_pair_label.txt")
        _landmarks(meta / "ijbc_name_5pts_score.txt")
        clock.lap("lists")
        pooled, ids = script["image2template_feature"](features, templates, medias)
        clock.lap("templates")
        scores = script["verification"](pooled, ids, first, second)
        clock.lap("scores")
    fpr, tpr, _ = roc_curve(label, scores)
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    # Upstream's script searches the nearest rate in a list of Python tuples too.
    tars = [float(tpr[min(list(zip(abs(fpr - far), range(len(fpr)), strict=True)))[1]]) for far in FARS]
    clock.lap("roc")
    return Cost(clock.seconds, clock.processor, _peak(), tars), scores


def _landmarks(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Convert the lines of landmarks and detector scores as upstream's script does, where it reads each image."""
    with path.open() as file:
        lines = file.readlines()
    points = []
    for line in lines:
        words = line.strip().split(" ")
        points.append(np.array([float(x) for x in words[1:-1]], dtype=np.float32).reshape((5, 2)))
    scores = [line.split()[-1] for line in lines]
    return points, np.array(scores).astype(np.float32)


@contextlib.contextmanager
def upstream_script(checkout: Path | None, name: str) -> Iterator[dict[str, Any]]:
    """Yield what a script of a checkout defines.

    The script is unmodified, runs with the compatibility fixes it needs, and its output is suppressed.

    Args:
        checkout: checkout of arcface_torch.
        name: name of the script.
    """
    from insightface_cakd.hosts.checkout import find_checkout
    from insightface_cakd.hosts.compat import FIXES
    from insightface_cakd.hosts.compat.fix import applied
    from insightface_cakd.hosts.scripts import find_script

    found = find_checkout(checkout)
    path = find_script(found, name)
    with found.imported(), applied(FIXES), contextlib.redirect_stdout(io.StringIO()):
        sys.path.insert(0, str(path.parent))
        try:
            yield runpy.run_path(str(path), run_name="upstream")
        finally:
            sys.path.remove(str(path.parent))


class _Clock:
    """Measures the seconds of each step, and the CPU seconds of all."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()
        self._started = time.process_time()

    def lap(self, step: str) -> None:
        """End a step.

        Args:
            step: name of the step that ends now.
        """
        now = time.perf_counter()
        self.seconds[step], self._last = now - self._last, now

    @property
    def processor(self) -> float:
        """CPU seconds of all threads since the start."""
        return time.process_time() - self._started


def _peak() -> int:
    """Return the peak memory of this process in bytes.

    Linux counts it in KiB, macOS in bytes.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _line(name: str, cost: Cost) -> str:
    steps = "".join(f"{step} {cost.seconds[step]:8.2f} s   " for step in STEPS)
    total = f"together {sum(cost.seconds.values()):8.2f} s   processor {cost.processor:8.2f} s"
    return f"{name:<10}{steps}{total}   peak {cost.peak / GIB:.2f} GiB"


def _ratios(ours: Cost, theirs: Cost) -> str:
    steps = "".join(f"{step} {theirs.seconds[step] / ours.seconds[step]:8.1f} x   " for step in STEPS)
    total = sum(theirs.seconds.values()) / sum(ours.seconds.values())
    processor = theirs.processor / ours.processor
    return f"{'faster by':<10}{steps}together {total:8.1f} x   processor {processor:8.1f} x"
