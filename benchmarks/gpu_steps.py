"""What a step of each recipe costs in each precision: measured, or predicted for a GPU."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

import torch

from insightface_cakd.errors import TapError, TeacherError
from insightface_cakd.experiments.cost import times
from insightface_cakd.experiments.cost.counts.prediction import Job, count, ratios
from insightface_cakd.experiments.cost.counts.rates import GPUS
from insightface_cakd.experiments.cost.memory import peak_memory
from insightface_cakd.experiments.cost.steps import ALONE, DISTILLATION, HeadSize, Precision, timed_runs
from insightface_cakd.recipe import Recipe, load_recipe
from insightface_cakd.report.tables import Row, markdown_table

MIB = 2**20
REPEATS = 10
COMPILED = "teacher.compile=true"

# Seconds of each call of a step, and the bytes that the distillation step allocates.
Found = tuple[Mapping[str, float], int]


@dataclass(frozen=True)
class Way:
    """A way in which a step may compute.

    Args:
        precision: of the step.
        compiled: whether the teacher's forward is one program of torch.compile.
    """

    precision: Precision
    compiled: bool = False

    def __str__(self) -> str:
        """Return its name in a table."""
        return f"{self.precision}, teacher compiled" if self.compiled else self.precision


def measured(
    recipes: Sequence[str], settings: Sequence[str], networks: Sequence[str], batch: int, device: torch.device
) -> str:
    """Time steps with random weights, and return a table.

    Args:
        recipes: by name or path.
        settings: `KEY=VALUE` changes to all of them.
        networks: students.
        batch: images of a step.
        device: where it computes; float16 is for CUDA only.
    """

    def step(recipe: Recipe, network: str, way: Way) -> Found:
        runs = timed_runs(recipe, network, batch, device, way.precision)
        seconds = {kind: median(taken) for kind, taken in times(runs, REPEATS, device).items()}
        return seconds, peak_memory(runs[DISTILLATION], device)

    halves: tuple[Precision, ...] = ("bf16", "fp16") if device.type == "cuda" else ("bf16",)
    ways = [Way("fp32"), *map(Way, halves), Way("bf16", compiled=True)]
    return _table(step, recipes, settings, networks, ways)


def predicted(recipes: Sequence[str], settings: Sequence[str], networks: Sequence[str], batch: int, gpu: str) -> str:
    """Return the same table for a GPU that is not there, from counts.

    Compiled code is not predicted, and float16 costs what bfloat16 does.

    Args:
        recipes: by name or path.
        settings: `KEY=VALUE` changes to all of them.
        networks: students.
        batch: images of a step.
        gpu: as `cakd cost` names it.
    """

    def step(recipe: Recipe, network: str, way: Way) -> Found:
        counts = count(Job(recipe, network, batch, precision=way.precision), HeadSize())
        allocated = counts.memory["activations"] + counts.memory["gradients"]
        return counts.seconds(GPUS[gpu], 1), allocated

    return _table(step, recipes, settings, networks, [Way("fp32"), Way("bf16")])


def _table(
    step: Callable[[Recipe, str, Way], Found],
    recipes: Sequence[str],
    settings: Sequence[str],
    networks: Sequence[str],
    ways: Sequence[Way],
) -> str:
    rows: list[Row] = []
    for network, name, way in product(networks, recipes, ways):
        cells = _cells(step, name, settings, network, way)
        if cells is not None:
            rows.append({"student": network, "recipe": Path(name).stem, "precision": str(way), **cells})
    return markdown_table(rows)


def _cells(
    step: Callable[[Recipe, str, Way], Found], name: str, settings: Sequence[str], network: str, way: Way
) -> Row | None:
    """Return the numbers of a row; None for a teacher that cannot be compiled."""
    recipe = load_recipe(name, [*settings, *([COMPILED] if way.compiled else [])])
    try:
        seconds, allocated = step(recipe, network, way)
    except (TapError, TeacherError):
        # A recipe that reads more of its teacher than the embedding has no compiled one.
        if not way.compiled:
            raise
        return None
    return {
        "student, ms": f"{1000 * seconds[ALONE]:.1f}",
        "step, ms": f"{1000 * seconds[DISTILLATION]:.1f}",
        "step / floor": f"{ratios(seconds)['floor']:.2f}",
        "MiB": f"{allocated / MIB:.0f}",
    }
