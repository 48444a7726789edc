"""`cakd cost`: what a step will cost, from counts, as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from insightface_cakd.errors import RunError
from insightface_cakd.experiments.cost.counts.cpu import fitted_cpu
from insightface_cakd.experiments.cost.counts.parts import Part
from insightface_cakd.experiments.cost.counts.prediction import Counts, Job, Rates, count, ratios
from insightface_cakd.experiments.cost.counts.rates import GPUS
from insightface_cakd.experiments.cost.steps import HeadSize
from insightface_cakd.report.tables import markdown_table

MIB, GIB, GIGA = 2**20, 2**30, 1e9
WAYS = {"forward": False, "backward": True}
NETWORKS: tuple[Part, ...] = ("student", "teacher")


@dataclass(frozen=True)
class Cost:
    """The counts of a step with heads of several sizes.

    Args:
        title: what is counted.
        job: of one rank.
        rates: of the device.
        counts: by the size of the head.
    """

    title: str
    job: Job
    rates: Rates
    counts: dict[HeadSize, Counts]

    def text(self) -> str:
        """Return what is counted, the assumptions, and a table.

        It has one column for each size of the head.
        """
        columns = {f"{head.classes:,} x {head.sample_rate:g}": self._column(head) for head in self.counts}
        kinds = next(iter(columns.values()))
        rows = [{"classes x used": kind, **{name: column[kind] for name, column in columns.items()}} for kind in kinds]
        return "\n\n".join([self.title, self.rates.assumptions(), markdown_table(rows)])

    def facts(self) -> dict[str, Any]:
        """Return all numbers: bytes, seconds, and FLOPs of a rank's batch."""
        return {
            "step": self.title,
            "assumptions": self.rates.assumptions(),
            "sizes": [self._facts(head) for head in self.counts],
        }

    def _column(self, head: HeadSize) -> dict[str, str]:
        facts = self._facts(head)
        per_image = {
            part: {way: n / GIGA / self.job.batch for way, n in ways.items()} for part, ways in facts["flops"].items()
        }
        memory = {kind: size for kind, size in facts["memory"].items() if kind != "peak"}
        peak = facts["memory"]["peak"]
        names = {"gradients": "student's gradients", "head": "head", "method": "method"}
        return {
            **{f"GFLOPs an image: {part} {way}": f"{per_image[part][way]:.2f}" for part in NETWORKS for way in WAYS},
            **{f"GFLOPs an image: {part}": f"{sum(per_image[part].values()):.2f}" for part in ("method", "head")},
            **{f"MiB sent: {names[kind]}": f"{size / MIB:.1f}" for kind, size in facts["sent"].items()},
            **{f"GiB: {kind}": f"{size / GIB:.2f}" for kind, size in memory.items()},
            "GiB: peak": f"{peak / GIB:.2f}{'' if facts['fits'] else ' (too much)'}",
            **{f"ms: {kind}": f"{1000 * taken:.1f}" for kind, taken in facts["seconds"].items()},
            **{f"step / {name}": f"{ratio:.3f}" for name, ratio in facts["ratios"].items()},
        }

    def _facts(self, head: HeadSize) -> dict[str, Any]:
        counts = self.counts[head]
        seconds = counts.seconds(self.rates, self.job.ranks)
        parts: tuple[Part, ...] = (*NETWORKS, "method", "head")
        return {
            "classes": head.classes,
            "sample_rate": head.sample_rate,
            "flops": {part: {way: counts.flops(part, back) for way, back in WAYS.items()} for part in parts},
            "sent": {"gradients": counts.sent("update"), "head": counts.sent("head"), "method": counts.sent("method")},
            "memory": {**counts.memory, "peak": counts.peak},
            "fits": counts.peak <= self.rates.memory,
            "seconds": seconds,
            "ratios": ratios(seconds),
        }


def cost(name: str, job: Job, device: str, heads: Sequence[HeadSize]) -> Cost:
    """Count a step with heads of several sizes.

    Nothing of the size of a network or head is allocated.

    Args:
        name: of the recipe.
        job: of one rank; `on_gpu` if the device is one.
        device: a key of `GPUS`, or `cpu` for this machine's, which some steps are timed for.
        heads: their sizes.

    Raises:
        RunError: an unknown device, several ranks on the CPU, or a step that cannot be counted.
    """
    if device != "cpu" and device not in GPUS:
        raise RunError(f"--hardware {device}: is not a known device; known: {', '.join(GPUS)}, cpu.")
    if device == "cpu" and job.ranks > 1:
        raise RunError(
            f"--hardware cpu: {job.ranks} ranks, and what CPUs send to each other is not predicted; expected 1. Leave --ranks out."
        )
    networks = " and ".join(spec.network for spec in job.recipe.named_teachers.values()) or job.recipe.teacher.network
    title = (
        f"student {job.student}, teacher {networks}, recipe {name}, {job.precision}, batch {job.batch} on each of {job.ranks} ranks, torch "
        f"{torch.__version__}; predicted from counts, not measured"
    )
    rates: Rates = fitted_cpu() if device == "cpu" else GPUS[device]
    return Cost(title, job, rates, {head: count(job, head) for head in heads})
