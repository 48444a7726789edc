"""`python -m benchmarks head`: the cost of logits terms.

It is measured in a step of the class-sharded head, on several CPU ranks.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import normalize

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.distill.head import distilled_head
from insightface_cakd.distill.monitor import Monitor
from insightface_cakd.distill.sources import Setting
from insightface_cakd.distill.sources.logits import Logits, SeenMargin
from insightface_cakd.distill.sources.source import Source
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.errors import RunError
from insightface_cakd.experiments.cost.memory import peak_memory
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.recipe import Recipe, TermSpec
from insightface_cakd.recipe.teacher import TeacherSpec
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.teachers import Teacher

MIB = 2**20
PLAIN = "plain"
# The terms to compare; each is measured as the only term of a head.
TERMS: dict[str, TermSpec] = {
    "kd": TermSpec(loss="kd", name="kd", weight=1.0),
    **{
        f"gkd {grouping}": TermSpec(loss="gkd", name="gkd", weight=1.0, options={"grouping": grouping})
        for grouping in ("fixed", "adaptive", "per_sample")
    },
}


@dataclass(frozen=True)
class HeadSize:
    """Size of a benchmark of the head.

    Args:
        classes: number of classes of all ranks.
        width: width of the student's and the teacher's embeddings.
        batch: samples per rank.
        sample_rate: share of the classes that the head uses in a step.
        steps: number of timed steps, after one that is not timed.
    """

    classes: int
    width: int
    batch: int
    sample_rate: float
    steps: int


@dataclass(frozen=True)
class HeadCost:
    """Cost of a step.

    Args:
        seconds: seconds on the slowest rank, each rank's median over the steps.
        peak: bytes on the rank that needs most, above weights and class centres (see `peak_memory`).
    """

    seconds: float
    peak: int


def bench_head(size: HeadSize, ranks: int) -> str:
    """Return a table of the cost of the head's forward and backward.

    One line for the plain head, one with kd, and one per grouping of gkd. Embeddings and centres are random, which makes
    the groups of `adaptive` and `per_sample` as large as possible.

    Args:
        size: size of head and batch.
        ranks: number of processes on this machine.

    Raises:
        RunError: there are fewer classes than ranks, less than one rank, or a rank was killed or ran out of memory.
    """
    if not 1 <= ranks <= size.classes:
        raise RunError(f"head: {ranks} ranks for {size.classes} classes; expected 1 to {size.classes}. Change --ranks.")
    costs = {kind: HeadCost(*cost) for kind, cost in _on_ranks(size, ranks).items()}
    plain = costs[PLAIN]
    lines = [
        f"{size.classes} classes of width {size.width} on {ranks} gloo ranks of one machine, {size.batch} samples a rank, sample rate "
        f"{size.sample_rate}; forward and backward of the head, median of {size.steps} steps, peak memory of one rank",
    ]
    for kind, cost in costs.items():
        ratios = f"{cost.seconds / plain.seconds:8.2f} x time{cost.peak / plain.peak:8.2f} x memory"
        lines.append(f"{kind:<16}{cost.seconds:9.3f} s{cost.peak / MIB:10.1f} MiB{ratios}")
    return "\n".join(lines)


def head_costs(size: HeadSize) -> dict[str, tuple[float, int]]:
    """Return seconds and peak bytes of each kind of head.

    The kinds take their steps in turn, so that what else the machine does meets them alike. The result is the same on every rank of the
    process group.

    Args:
        size: size of head and batch.
    """
    kinds: dict[str, TermSpec | None] = {PLAIN: None, **TERMS}
    rows: dict[str, torch.Tensor] = {}
    runs = {kind: head_step(size, term, rows) for kind, term in kinds.items()}
    for run in runs.values():
        run()
    seconds = [[_seconds(run) for run in runs.values()] for _ in range(size.steps)]
    peaks = [peak_memory(run, torch.device("cpu")) for run in runs.values()]
    costs = torch.tensor([[median(taken) for taken in zip(*seconds, strict=True)], peaks], dtype=torch.float64)
    if world_size() > 1:
        dist.all_reduce(costs, op=dist.ReduceOp.MAX)
    return {kind: (float(cost[0]), int(cost[1])) for kind, cost in zip(runs, costs.T, strict=True)}


def head_step(size: HeadSize, term: TermSpec | None, rows: dict[str, torch.Tensor]) -> Callable[[], object]:
    """Return one step of this rank, on random embeddings.

    A step is forward and backward of the head.

    Args:
        size: size of head and batch.
        term: term that is added to the margin loss; None for the plain head.
        rows: this rank's class centres, which the heads of one benchmark share; those that are missing are drawn.
    """
    torch.manual_seed(rank())
    student, teacher = (torch.randn(size.batch, size.width) for _ in range(2))
    labels = torch.randint(0, size.classes, (size.batch,))
    margin = CombinedMarginLoss(64, 1.0, 0.0, 0.4)
    if term is None:
        plain = _sharing(PartialFC_V2(margin, size.width, size.classes, size.sample_rate), rows)
        return lambda: _run(plain, plain(student.clone().requires_grad_(), labels))
    sources = [_DrawnLogits(_setting(size, term), rows)]
    distillation = Distillation(DistillationStep([term], sources), Monitor(None, 1), sources)
    distilled = distilled_head(PartialFC_V2, distillation)
    head = _sharing(distilled(SeenMargin(margin), size.width, size.classes, size.sample_rate), rows)
    return lambda: _run(head, head((student.clone().requires_grad_(), {"teacher.embedding": teacher}), labels))


class _DrawnLogits(Logits):
    """Logits of a teacher with random class centres, of which a rank draws its own alone."""

    def __init__(self, setting: Setting, drawn: dict[str, torch.Tensor]) -> None:
        Source.__init__(self, setting)
        self.drawn = drawn

    def own_rows(self, head: Any) -> torch.Tensor:
        """Return this rank's rows, which are drawn once."""
        if "teacher" not in self.drawn:
            generator = torch.Generator().manual_seed(head.class_start)
            rows = torch.randn(head.num_local, self.setting.teacher.embedding_size, generator=generator)
            self.drawn["teacher"] = normalize(rows, eps=1e-6)
        return self.drawn["teacher"]


def _sharing(head: Any, rows: dict[str, torch.Tensor]) -> nn.Module:
    """Give a head the student's rows that another one drew."""
    assert isinstance(head.weight, nn.Parameter)
    head.weight = rows.setdefault("student", head.weight)
    return head


def _setting(size: HeadSize, term: TermSpec) -> Setting:
    recipe = Recipe(teacher=TeacherSpec(network="random"), losses=[term])
    teacher = Teacher(nn.Identity(), "random", size.width, "cpu")
    return Setting(recipe, {"teacher": teacher}, [term])


def _run(head: nn.Module, loss: torch.Tensor) -> None:
    loss.backward()
    head.zero_grad()


def _seconds(run: Callable[[], object]) -> float:
    if world_size() > 1:
        dist.barrier()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _on_ranks(size: HeadSize, ranks: int) -> dict[str, tuple[float, int]]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            torch.multiprocessing.spawn(_rank, (ranks, folder, size), nprocs=ranks)
        except torch.multiprocessing.ProcessExitedException as error:
            raise RunError(
                f"head: a rank ended with code {error.exit_code}; expected a result. -9 is what a machine does that runs out of "
                "memory. Take fewer --classes, --ranks, or a smaller --width."
            ) from error
        except torch.multiprocessing.ProcessRaisedException as error:
            if "can't allocate memory" not in str(error):
                raise
            raise RunError(
                f"head: a rank cannot have the memory for its share of {size.classes} classes of width {size.width}; expected "
                "less than the machine has. Take fewer --classes, --ranks, or a smaller --width."
            ) from error
        return torch.load(Path(folder) / "costs.pt", weights_only=True)


def _rank(own: int, ranks: int, folder: str, size: HeadSize) -> None:
    torch.set_num_threads(max(1, torch.get_num_threads() // ranks))
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=own, world_size=ranks)
    try:
        costs = head_costs(size)
        if own == 0:
            torch.save(costs, Path(folder) / "costs.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
