"""Logs raw and weighted terms and the gradient ratio of a run."""

from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent, EmbeddingGradients


class Monitor:
    """Writes every `every` steps and reads nothing from the device in between.

    Tags: `distill/raw/<term>`, `distill/weighted/<term>`, `distill/raw/margin`, and `distill/gradient_ratio`, the norm of the terms'
    gradient at the embedding over that of the margin loss (1 means that both pull equally). What a loss shows of its batch is logged as
    `distill/raw/<term>.<name>`.

    Args:
        log_dir: folder of the TensorBoard events, made at the first write; None on ranks that do not log.
        every: steps between two writes, and between two checks for NaN off the CPU.
    """

    def __init__(self, log_dir: Path | None, every: int = 10) -> None:
        self.log_dir = log_dir
        self.every = every
        self._writer: SummaryWriter | None = None
        self._pending: tuple[int, EmbeddingGradients] | None = None

    def after_step(self, step: DistillationStep, student: DistilledStudent) -> None:
        """Log the last forward, and the gradients of the last measured one.

        On the CPU reading a value costs nothing, so there a NaN stops the run at the step where it appears.
        """
        due = step.step % self.every == 0
        if due or next(iter(step.raw.values())).device.type == "cpu":
            step.check_finite()
        if self._pending is not None:
            self._write_ratio(*self._pending)
            self._pending = None
        if student.measures_gradients and due:
            self._pending = (step.step, student.gradients)
        student.measures_gradients = (step.step + 1) % self.every == 0
        if due and self.log_dir is not None:
            for kind, values in (("raw", step.raw), ("weighted", step.weighted)):
                for name, value in values.items():
                    self._add(f"distill/{kind}/{name}", float(value), step.step)

    def close(self) -> None:
        """Flush what was written and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write_ratio(self, step: int, gradients: EmbeddingGradients) -> None:
        # A task whose loss is its terms alone has no margin loss to compare with.
        if self.log_dir is None or gradients.margin is None or float(gradients.margin) == 0:
            return
        terms = gradients.distillation
        squared = torch.zeros_like(gradients.margin) if terms is None else terms
        ratio = float((squared / gradients.margin.clamp_min(torch.finfo(torch.float32).tiny)).sqrt())
        self._add("distill/gradient_ratio", ratio, step)

    def _add(self, tag: str, value: float, step: int) -> None:
        if self._writer is None:
            self._writer = SummaryWriter(str(self.log_dir))
        self._writer.add_scalar(tag, value, step)


def log_folder(output: str) -> Path:
    """Return where a run logs its terms for TensorBoard."""
    return Path(output) / "tensorboard" / "distill"
