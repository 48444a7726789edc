"""Measures a task in place of `CallBackVerification`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.parts import RunResult
from insightface_cakd.hosts.embedded.utils.utils_logging import LOGGER
from insightface_cakd.report.result import Result
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.runtime.ranks import rank
from insightface_cakd.tasks.task import Task


class MeasureCallback:
    """Measure the network with a task's measures, on rank 0.

    Constructed as arcface_torch's `CallBackVerification`, of whose arguments `image_size` is not read.

    Attributes:
        best: the best value so far of each set.
        improved: whether the last measurement was better than all before, summed over the sets.
    """

    def __init__(
        self,
        task: Task,
        val_targets: list[str],
        rec_prefix: str,
        summary_writer: Any = None,
        image_size: tuple[int, int] = (112, 112),
        wandb_logger: Any = None,
    ) -> None:
        self.task = task
        self.summary_writer, self.wandb_logger = summary_writer, wandb_logger
        self.best: dict[str, float] = {}
        self.improved = False
        self.measures = (task.measures(Path(rec_prefix), list(val_targets)) or {}) if rank() == 0 else {}

    def __call__(self, num_update: int, backbone: nn.Module) -> dict[str, Result]:
        """Return what each measure came to, by the name of its set."""
        results = {name: self._measured(name, num_update, backbone) for name in self.measures}
        better = min if self.task.lower_is_better else max
        before = dict(self.best)
        for name, found in results.items():
            if found.value is not None:
                self.best[name] = better(found.value, before.get(name, found.value))
            self._report(num_update, name, found)
        self.improved = bool(self.best) and (not before or self._total(self.best) > self._total(before))
        return results

    def _measured(self, name: str, step: int, backbone: nn.Module) -> Result:
        where, expected = (
            f"task {self.task.name}: measure {name}",
            "an insightface_cakd.report.result.Result. Correct it.",
        )
        with foreign(where, RunError, expected, of=self.task):
            found = self.measures[name](step, backbone)
        if not isinstance(found, Result):
            raise RunError(f"{where}: gives a {type(found).__name__}; expected {expected}")
        return found

    @staticmethod
    def record(results: Mapping[str, Result], run: RunResult) -> None:
        """Write into a run's result what it records about a measurement."""
        run.measured = {name: found.facts() for name, found in results.items()}

    def _total(self, values: Mapping[str, float]) -> float:
        return sum(values.values()) * (-1 if self.task.lower_is_better else 1)

    def _report(self, step: int, name: str, found: Result) -> None:
        said = [f"{key} {cell}" for row in found.rows() for key, cell in row.items()]
        LOGGER.info("[%s][%d] %s", name, step, ", ".join(said))
        facts = found.facts()
        for key, value in facts.items() if isinstance(facts, dict) else ():
            if not isinstance(value, int | float):
                continue
            if self.summary_writer is not None:
                self.summary_writer.add_scalar(f"{key}/{name}", value, step)
            if self.wandb_logger is not None:
                self.wandb_logger.log({f"{key}/{name}": value, "step": step})
