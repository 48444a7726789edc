"""Logs raw and weighted terms and the gradient ratio of a run."""

import logging
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import DistilledStudent, EmbeddingGradients

# A checkout's own handlers write it to the screen and to training.log.
LOGGER = logging.getLogger("insightface_cakd.terms")


class Monitor:
    """Writes every `every` steps and reads nothing from the device in between.

    Tags: `distill/raw/<term>`, `distill/weighted/<term>`, `distill/raw/margin`, and `distill/gradient_ratio`, the norm of the terms'
    gradient at the embedding over that of the margin loss (1 means that both pull equally). What a loss shows of its batch is logged as
    `distill/raw/<term>.<name>`.

    Args:
        log_dir: folder of the TensorBoard events, made at the first write; None on ranks that do not log.
        every: steps between two writes, and between two checks for NaN off the CPU.
        says: write a line to the log as well, one step later when the gradients are known; for loops that say nothing of the terms.
    """

    def __init__(self, log_dir: Path | None, every: int = 10, says: bool = False) -> None:
        self.log_dir = log_dir
        self.every = every
        self.says = says
        self._unsaid: tuple[int, str] | None = None
        self._writer: SummaryWriter | None = None
        self._pending: tuple[int, EmbeddingGradients] | None = None

    def after_step(self, step: DistillationStep, student: DistilledStudent) -> None:
        """Log the last forward, and the gradients of the last measured one.

        On the CPU reading a value costs nothing, so there a NaN stops the run at the step where it appears.
        """
        due = step.step % self.every == 0
        if due or next(iter(step.raw.values())).device.type == "cpu":
            step.check_finite()
        ratio = self._last_ratio()
        self._say(ratio)
        if self._pending is not None and ratio is not None:
            self._add("distill/gradient_ratio", ratio, self._pending[0])
        self._pending = None
        if student.measures_gradients and due:
            self._pending = (step.step, student.gradients)
        student.measures_gradients = (step.step + 1) % self.every == 0
        if due and self.log_dir is not None:
            for kind, values in (("raw", step.raw), ("weighted", step.weighted)):
                for name, value in values.items():
                    self._add(f"distill/{kind}/{name}", float(value), step.step)
        if due and self.says and self.log_dir is not None:
            self._unsaid = (step.step, loss_line(step))

    def close(self) -> None:
        """Flush what was written and close the file."""
        self._say(self._last_ratio())
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _last_ratio(self) -> float | None:
        return None if self.log_dir is None or self._pending is None else _ratio(self._pending[1])

    def _say(self, ratio: float | None) -> None:
        if self._unsaid is None:
            return
        step, line = self._unsaid
        LOGGER.info("step %d: %s%s", step, line, _ratio_words(ratio))
        self._unsaid = None

    def _add(self, tag: str, value: float, step: int) -> None:
        if self._writer is None:
            self._writer = SummaryWriter(str(self.log_dir))
        self._writer.add_scalar(tag, value, step)


def loss_line(step: DistillationStep, gradients: EmbeddingGradients | None = None) -> str:
    """Return the last loss: margin, and weighted terms with raw values.

    Reads the device.

    Args:
        step: after its forward.
        gradients: of the last measured step; their ratio is added.
    """
    parts = [
        f"{name} {float(value):.3f}"
        for name, value in step.raw.items()
        if name not in step.weighted and "." not in name
    ]
    parts += [f"{name} {float(value):.3f} (raw {float(step.raw[name]):.4g})" for name, value in step.weighted.items()]
    return ", ".join(parts) + _ratio_words(None if gradients is None else _ratio(gradients))


def _ratio_words(ratio: float | None) -> str:
    return "" if ratio is None else f", gradient ratio {ratio:.3g}"


def _ratio(gradients: EmbeddingGradients) -> float | None:
    """Return the norm of the terms' gradient over that of the margin loss.

    None where none was measured, or where a task's loss is its terms alone.
    """
    if gradients.margin is None or float(gradients.margin) == 0:
        return None
    terms = gradients.distillation
    squared = torch.zeros_like(gradients.margin) if terms is None else terms
    return float((squared / gradients.margin.clamp_min(torch.finfo(torch.float32).tiny)).sqrt())


def log_folder(output: str) -> Path:
    """Return where a run logs its terms for TensorBoard."""
    return Path(output) / "tensorboard" / "distill"
