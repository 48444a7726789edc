"""`cakd bench`: the cost of a recipe on this machine."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from insightface_cakd.data.records import FaceRecords
from insightface_cakd.experiments.cost.memory import peak_memory
from insightface_cakd.experiments.cost.steps import ALONE, ANCHOR, DISTILLATION, Precision, Run, timed_runs
from insightface_cakd.recipe import Recipe, load_recipe
from insightface_cakd.runtime.devices import choose_device

WARMUP = 2
MIB = 2**20


@dataclass(frozen=True)
class Ratio:
    """A step over what it is compared with, over all repetitions.

    Args:
        name: of the ratio.
        median, least, most: of the repetitions' ratios.
    """

    name: str
    median: float
    least: float
    most: float

    def text(self) -> str:
        """Return the ratio in a line."""
        return f"{self.name}: {self.median:.3f} (min {self.least:.3f}, max {self.most:.3f})"


@dataclass(frozen=True)
class Bench:
    """What a step and its parts took.

    Args:
        machine: one line about it.
        title: what was timed.
        seconds: of each part, one number a repetition.
        peaks: bytes of each part, see `peak_memory`.
        reading: images that one process reads and decodes in a second; None where it was not timed.
    """

    machine: str
    title: str
    seconds: dict[str, list[float]]
    peaks: dict[str, int]
    reading: float | None

    def ratios(self) -> list[Ratio]:
        """Return the ratio to the floor, and with anchors to both together.

        A ratio is taken for each repetition.
        """
        floor = [kind for kind in self.seconds if kind not in (ANCHOR, DISTILLATION)]
        named = [kind if kind == ALONE else kind.removeprefix("teacher ") for kind in floor]
        found = [self._ratio(f"distillation / floor ({' + teacher '.join(named)})", floor)]
        if ANCHOR in self.seconds:
            found.append(self._ratio(f"distillation / (floor + {ANCHOR})", [*floor, ANCHOR]))
        return found

    def text(self) -> str:
        """Return machine, medians in milliseconds, peaks in MiB, and ratios."""
        parts = (
            f"{kind:<38}{1000 * median(taken):9.1f} ms{self.peaks[kind] / MIB:10.1f} MiB"
            for kind, taken in self.seconds.items()
        )
        lines = [self.machine, self.title, *parts, *(ratio.text() for ratio in self.ratios())]
        if self.reading is not None:
            lines.append(f"record reading: {self.reading:.0f} images/s on one core, decoding included")
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """Return all numbers: seconds of every repetition, bytes, and ratios."""
        return {**asdict(self), "ratios": [asdict(ratio) for ratio in self.ratios()]}

    def _ratio(self, name: str, parts: list[str]) -> Ratio:
        below = map(sum, zip(*(self.seconds[kind] for kind in parts), strict=True))
        ratios = [step / floor for step, floor in zip(self.seconds[DISTILLATION], below, strict=True)]
        return Ratio(name, median(ratios), min(ratios), max(ratios))


def bench(
    recipe: str,
    student: str,
    settings: Sequence[str],
    batch: int,
    steps: int,
    precision: Precision = "fp32",
    records: Path | None = None,
) -> Bench:
    """Time a recipe's step and the parts of its floor.

    The floor is what every distillation needs: the student's own step and the teacher's forward; with prompts, the
    teacher's forward and the backward to the prompts. The additional cost of anchors, the same teacher's embeddings
    without prompts, is not part of the floor and has its own line. The calls are timed in turn, so that noise of the
    machine affects all of them.

    Args:
        recipe: name or path of the recipe; its `teacher.weights` and `teacher.centres` are not read, since random ones
            cost the same.
        settings: `KEY=VALUE` changes to the recipe, such as another `teacher.network`.
        batch: images per step.
        precision: precision of the student; on CUDA the teacher computes in half precision, as in a run.
        records: folder with a train.rec whose reading is timed; None times no reading.
    """
    device = choose_device(None)
    loaded = load_recipe(recipe, settings)
    runs = timed_runs(loaded, student, batch, device, precision)
    seconds = times(runs, steps, device)
    return Bench(
        machine(device),
        f"student {student}, teacher {_networks(loaded)}, recipe {Path(recipe).stem}, {precision}, batch {batch}, median of "
        f"{steps} steps taken in turn, peak memory of one",
        seconds,
        {kind: peak_memory(run, device) for kind, run in runs.items()},
        None if records is None else reading_speed(records),
    )


def _networks(recipe: Recipe) -> str:
    return " and ".join(spec.network for spec in recipe.named_teachers.values()) or recipe.teacher.network


def machine(device: torch.device) -> str:
    """Return one line about the machine of the measurement."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{device.type} {name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"


def reading_speed(folder: Path, limit: int = 5000) -> float:
    """Return how many images per second one process reads and decodes."""
    records = FaceRecords(folder)
    count = min(len(records), limit)
    started = time.perf_counter()
    for index in range(count):
        records[index]
    return count / (time.perf_counter() - started)


def times(runs: dict[str, Run], steps: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each call per repetition, without the warm-up.

    Args:
        runs: calls by name, taken in turn.
        steps: repetitions.
        device: synchronised around each call.
    """
    seconds: dict[str, list[float]] = {kind: [] for kind in runs}
    for repetition in range(WARMUP + steps):
        for kind, run in runs.items():
            taken = _time(run, device)
            if repetition >= WARMUP:
                seconds[kind].append(taken)
    return seconds


def _time(run: Run, device: torch.device) -> float:
    """Return the seconds of one call; the device is synchronised around it."""
    _synchronize(device)
    started = time.perf_counter()
    run()
    _synchronize(device)
    return time.perf_counter() - started


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
