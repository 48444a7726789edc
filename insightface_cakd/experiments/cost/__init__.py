"""`cakd bench`: the cost of a recipe on this machine."""

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch

from insightface_cakd.data.records import FaceRecords
from insightface_cakd.experiments.cost.memory import peak_memory
from insightface_cakd.experiments.cost.steps import ALONE, ANCHOR, DISTILLATION, Precision, Run, timed_runs
from insightface_cakd.recipe import Recipe, load_recipe
from insightface_cakd.runtime.devices import choose_device

WARMUP = 2
MIB = 2**20


def bench(
    recipe: str,
    student: str,
    settings: Sequence[str],
    batch: int,
    steps: int,
    precision: Precision = "fp32",
    records: Path | None = None,
) -> str:
    """Time a recipe's step and the parts of its floor.

    The floor is what every distillation needs: the student's own step and the teacher's forward; with prompts, the
    teacher's forward and the backward to the prompts. The additional cost of anchors, the same teacher's embeddings
    without prompts, is not part of the floor and has its own line. The calls are timed in turn, so that noise of the
    machine affects all of them. Ratios are taken for each repetition; their median, minimum and maximum are returned.

    Args:
        recipe: name or path of the recipe; its `teacher.weights` and `teacher.centres` are not read, since random ones
            cost the same.
        settings: `KEY=VALUE` changes to the recipe, such as another `teacher.network`.
        batch: images per step.
        precision: precision of the student; on CUDA the teacher computes in half precision, as in a run.
        records: folder with a train.rec whose reading is timed; None times no reading.

    Returns:
        Lines of text: machine, medians in milliseconds, peak memory in MiB (see `peak_memory`), ratio to the floor.
    """
    device = choose_device(None)
    loaded = load_recipe(recipe, settings)
    runs = timed_runs(loaded, student, batch, device, precision)
    seconds = times(runs, steps, device)
    lines = [
        machine(device),
        f"student {student}, teacher {_networks(loaded)}, recipe {Path(recipe).stem}, {precision}, batch {batch}, median of "
        f"{steps} steps taken in turn, peak memory of one",
        *(_line(kind, seconds[kind], peak_memory(run, device)) for kind, run in runs.items()),
        *_ratios(seconds),
    ]
    if records is not None:
        lines.append(f"record reading: {reading_speed(records):.0f} images/s on one core, decoding included")
    return "\n".join(lines)


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


def _line(kind: str, seconds: list[float], peak: int) -> str:
    return f"{kind:<38}{1000 * median(seconds):9.1f} ms{peak / MIB:10.1f} MiB"


def _ratios(seconds: dict[str, list[float]]) -> list[str]:
    """Return the ratio to the floor, and with anchors to both together."""
    floor = [kind for kind in seconds if kind not in (ANCHOR, DISTILLATION)]
    named = [kind if kind == ALONE else kind.removeprefix("teacher ") for kind in floor]
    lines = [_ratio(f"distillation / floor ({' + teacher '.join(named)})", seconds, floor)]
    if ANCHOR in seconds:
        lines.append(_ratio(f"distillation / (floor + {ANCHOR})", seconds, [*floor, ANCHOR]))
    return lines


def _ratio(name: str, seconds: dict[str, list[float]], parts: list[str]) -> str:
    below = map(sum, zip(*(seconds[kind] for kind in parts), strict=True))
    ratios = [step / floor for step, floor in zip(seconds[DISTILLATION], below, strict=True)]
    return f"{name}: {median(ratios):.3f} (min {min(ratios):.3f}, max {max(ratios):.3f})"


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
