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

    The result is the same on every rank of the process group.

    Args:
        size: size of head and batch.
    """
    kinds: dict[str, TermSpec | None] = {PLAIN: None, **TERMS}
    return {kind: _cost(head_step(size, term), size.steps) for kind, term in kinds.items()}


def head_step(size: HeadSize, term: TermSpec | None) -> Callable[[], object]:
    """Return one step of this rank, on random embeddings.

    A step is forward and backward of the head.

    Args:
        size: size of head and batch.
        term: term that is added to the margin loss; None for the plain head.
    """
    torch.manual_seed(rank())
    student, teacher = (torch.randn(size.batch, size.width) for _ in range(2))
    labels = torch.randint(0, size.classes, (size.batch,))
    margin = CombinedMarginLoss(64, 1.0, 0.0, 0.4)
    if term is None:
        plain = PartialFC_V2(margin, size.width, size.classes, size.sample_rate)
        return lambda: _run(plain, plain(student.clone().requires_grad_(), labels))
    sources = [_DrawnLogits(_setting(size, term))]
    distillation = Distillation(DistillationStep([term], sources), Monitor(None, 1), sources)
    head = distilled_head(PartialFC_V2, distillation)(SeenMargin(margin), size.width, size.classes, size.sample_rate)

    return lambda: _run(head, head((student.clone().requires_grad_(), {"teacher.embedding": teacher}), labels))


class _DrawnLogits(Logits):
    """Logits of a teacher with random class centres, of which a rank draws its own alone."""

    def __init__(self, setting: Setting) -> None:
        Source.__init__(self, setting)

    def own_centres(self, head: Any) -> torch.Tensor:
        """Draw this rank's rows."""
        generator = torch.Generator().manual_seed(head.class_start)
        return torch.randn(head.num_local, self.setting.teacher.embedding_size, generator=generator)


def _setting(size: HeadSize, term: TermSpec) -> Setting:
    recipe = Recipe(teacher=TeacherSpec(network="random"), losses=[term])
    teacher = Teacher(nn.Identity(), "random", size.width, "cpu")
    return Setting(recipe, {"teacher": teacher}, [term])


def _run(head: nn.Module, loss: torch.Tensor) -> None:
    loss.backward()
    head.zero_grad()


def _cost(run: Callable[[], object], steps: int) -> tuple[float, int]:
    """Return the largest seconds and the largest peak bytes of all ranks."""
    run()
    seconds = []
    for _ in range(steps):
        if world_size() > 1:
            dist.barrier()
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    cost = torch.tensor([median(seconds), peak_memory(run, torch.device("cpu"))], dtype=torch.float64)
    if world_size() > 1:
        dist.all_reduce(cost, op=dist.ReduceOp.MAX)
    return float(cost[0]), int(cost[1])


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
