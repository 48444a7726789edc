"""The callbacks of the training loop: verification and logging."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from insightface_cakd.data.bins import VerificationSet, load_bin
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.pairs.verification import VerificationResult, require_kinds, verify
from insightface_cakd.hosts.embedded.parts import RunResult
from insightface_cakd.hosts.embedded.utils.utils_logging import LOGGER, AverageMeter
from insightface_cakd.runtime.ranks import rank


class CallBackVerification:
    """Verify the network on the sets `<rec_prefix>/<name>.bin`, on rank 0.

    A missing set is an error; arcface_torch would skip it without a message. `image_size` is not read: a set has its own.

    Attributes:
        best: the highest accuracy so far of each set.
        improved: whether the last verification raised one of them.
    """

    def __init__(
        self,
        val_targets: list[str],
        rec_prefix: str,
        summary_writer: SummaryWriter | None = None,
        image_size: tuple[int, int] = (112, 112),
        wandb_logger: Any = None,
    ) -> None:
        self.summary_writer = summary_writer
        self.wandb_logger = wandb_logger
        self.best: dict[str, float] = {}
        self.improved = False
        self.sets = {name: _load(name, Path(rec_prefix)) for name in val_targets} if rank() == 0 else {}

    def __call__(self, num_update: int, backbone: nn.Module) -> dict[str, VerificationResult]:
        """Return the result of each set."""
        device = next(backbone.parameters()).device
        results = {name: verify(backbone, pairs, device) for name, pairs in self.sets.items()}
        before = sum(self.best.values())
        for name, result in results.items():
            self._report(num_update, name, result)
        self.improved = sum(self.best.values()) > before
        return results

    @staticmethod
    def record(results: dict[str, VerificationResult], run: RunResult) -> None:
        """Write into a run's result what it records about a verification."""
        run.accuracy = {name: found.accuracy for name, found in results.items()}

    def _report(self, step: int, name: str, result: VerificationResult) -> None:
        self.best[name] = max(result.accuracy, self.best.get(name, 0.0))
        LOGGER.info(
            "[%s][%d] Accuracy-Flip: %.5f+-%.5f, XNorm: %.3f, best: %.5f",
            name,
            step,
            result.accuracy,
            result.std,
            result.xnorm,
            self.best[name],
        )
        if self.summary_writer is not None:
            self.summary_writer.add_scalar(f"accuracy/{name}", result.accuracy, step)
        if self.wandb_logger is not None:
            self.wandb_logger.log({f"accuracy/{name}": result.accuracy, "step": step})


def _load(name: str, folder: Path) -> VerificationSet:
    path = folder / f"{name}.bin"
    if not path.is_file():
        found = ", ".join(sorted(file.stem for file in folder.glob("*.bin"))) or "none"
        raise RunError(
            f"val_targets: {path} does not exist; found: {found}. Remove {name} from val_targets, or make it with `cakd data make-bin`."
        )
    pairs = load_bin(path)
    # Checked now, not only after the work of an epoch.
    require_kinds(pairs.same, str(path))
    return pairs


class CallBackLogging:
    """Progress bar on a terminal, log lines elsewhere.

    A log line is written every `frequent` steps. Scalars go to TensorBoard in either case.

    Args:
        batch_size: images per rank and step.
        world_size: for the images per second of all ranks.
    """

    def __init__(
        self,
        frequent: int,
        total_step: int,
        batch_size: int,
        start_step: int = 0,
        writer: SummaryWriter | None = None,
        world_size: int = 1,
    ) -> None:
        self.frequent, self.total_step, self.writer = frequent, total_step, writer
        self.images_per_step = batch_size * world_size
        self.since = (start_step, time.monotonic())
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, disable=rank() != 0, transient=True)
        self.task = self.progress.add_task("", total=total_step, completed=start_step, note="")
        self.live = rank() == 0 and self.progress.console.is_terminal
        if self.live:
            self.progress.start()

    def __call__(
        self,
        global_step: int,
        loss: AverageMeter,
        epoch: int,
        fp16: bool,
        learning_rate: float,
        grad_scaler: Any,
        terms: Callable[[], str] | None = None,
    ) -> None:
        """Log the loss after a step, every `frequent` steps.

        Args:
            terms: says what the loss consists of; called when something is logged.
        """
        if global_step % self.frequent or global_step == 0:
            return
        average = loss.avg
        loss.reset()
        if rank() != 0:
            return
        step, then = self.since
        now = time.monotonic()
        speed = (global_step - step) * self.images_per_step / max(now - then, 1e-9)
        self.since = (global_step, now)
        whole = f"loss {average:.3f}" + ("" if terms is None else f" ({terms()})")
        note = f"epoch {epoch}, {whole}, lr {learning_rate:.4g}, {speed:.0f} images/s"
        self.progress.update(self.task, completed=global_step, note=note)
        if not self.live:
            left = (self.total_step - global_step) * self.images_per_step / max(speed, 1e-9)
            LOGGER.info("step %d/%d: %s, %s left", global_step, self.total_step, note, timedelta(seconds=round(left)))
        if self.writer is not None:
            scale = {"loss_scale": grad_scaler.get_scale()} if fp16 else {}
            values = {"loss": average, "learning_rate": learning_rate, "images_per_second": speed, **scale}
            for name, value in values.items():
                self.writer.add_scalar(f"train/{name}", value, global_step)

    def close(self) -> None:
        """Remove the progress bar."""
        if self.live:
            self.progress.stop()


def mean_buffers(module: nn.Module, world_size: int) -> None:
    """Average floating-point buffers over ranks.

    Batch norm's running statistics differ between ranks, since DDP does not broadcast them here.
    """
    if world_size == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            torch.distributed.all_reduce(buffer)
            buffer.div_(world_size)
