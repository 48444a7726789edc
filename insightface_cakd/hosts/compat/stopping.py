"""How a run of arcface_torch is stopped, or kept out."""

import logging
from contextlib import ExitStack
from types import ModuleType
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.compat.fix import fix_for_every_version, wrapping
from insightface_cakd.hosts.compat.imports import after_import, after_import_of
from insightface_cakd.runtime.folder_lock import only_writer
from insightface_cakd.runtime.stopping import STOPPED, StopRequest, stop_requests
from insightface_cakd.runtime.workers import workers_with_patience


class _Stops:
    """Ends a run before the student's next step in training mode, when a signal asked for that.

    By then the loop has written what belongs to the last step, the files of an epoch included.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.request: StopRequest | None = None
        self.step = 0

    def begin(self, log: type) -> None:
        """Note signals from the moment when the log is made, right before the loop."""

        @wrapping(log, "__init__")
        def construct(original: Any, callback: Any, *args: Any, **kwargs: Any) -> None:
            original(callback, *args, **kwargs)
            self.request = self.stack.enter_context(stop_requests())

        @wrapping(log, "__call__")
        def call(original: Any, callback: Any, step: int, *args: Any, **kwargs: Any) -> None:
            original(callback, step, *args, **kwargs)
            self.step = step

    def check(self, student: nn.Module, _: Any) -> None:
        """End the run if a rank was asked to; called before a forward pass."""
        if not student.training or self.request is None or not self.request.agreed():
            return
        logging.info(
            "%s: stopped after step %d; arcface_torch saves at the end of an epoch only, and what it saved there is whole: go on from it "
            "with resume",
            self.request.name,
            self.step,
        )
        raise SystemExit(STOPPED)


def _finish_the_step(stack: ExitStack) -> None:
    stops = _Stops(stack)

    @wrapping(DistributedDataParallel, "__init__", stack)
    def construct(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.register_forward_pre_hook(stops.check)

    after_import_of(stack, "utils.utils_callbacks", "CallBackLogging", stops.begin)


def _wait_with_patience(loader: type) -> None:
    @wrapping(loader, "__init__")
    def construct(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        patient = workers_with_patience(kwargs.get("num_workers", 0), kwargs.get("worker_init_fn"))
        original(self, *args, **{**kwargs, **patient})


def _keep_others_out(stack: ExitStack) -> None:
    def change(module: ModuleType) -> None:
        @wrapping(module, "init_logging")
        def init_logging(original: Any, rank: int, models_root: str) -> None:
            """Hold the output folder before anything is written to it."""
            if rank == 0:
                try:
                    stack.enter_context(only_writer(models_root))
                except RunError as error:
                    raise SystemExit(f"train_v2.py: error: {error}") from error
            original(rank, models_root)

    after_import(stack, "utils.utils_logging", change)


STOP_SIGNALS = fix_for_every_version(
    name="stop-signals",
    breaks="train_v2.py:176-233: SIGTERM and SIGUSR1 end the process at once, also while it writes a checkpoint",
    fix="the step, or the files of an epoch, are finished first; the exit code is 143",
    until="arcface_torch handles them",
    apply=_finish_the_step,
)
WORKER_PATIENCE = fix_for_every_version(
    name="worker-patience",
    breaks="dataset.py:64-73: a loader's worker that is stopped or hangs is waited for for ever",
    fix="the run ends after ten minutes without a batch",
    until="arcface_torch sets a timeout",
    apply=lambda stack: after_import_of(stack, "dataset", "DataLoaderX", _wait_with_patience),
)
ONE_RUN = fix_for_every_version(
    name="one-run",
    breaks="train_v2.py:53: two runs with one output folder overwrite each other's files",
    fix="the second one is refused",
    until="arcface_torch refuses it",
    apply=_keep_others_out,
)
