"""A run that is asked to stop finishes its step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from insightface_cakd.runtime.ranks import world_size

# What clusters and torchrun send, and what SLURM's --signal=USR1 sends ahead of it.
SIGNALS = tuple(one for one in signal.Signals if one.name in ("SIGTERM", "SIGUSR1"))
# As shells report a process that SIGTERM ended.
STOPPED = 128 + signal.SIGTERM


class StopRequest:
    """Notes a signal, and lets the ranks agree where to stop.

    Each step begins a sum over ranks on the CPU and reads that of the step before: no rank waits, and none reads the device.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.group: Any = dist.new_group(backend="gloo") if world_size() > 1 else None
        self._begun: tuple[Any, Tensor] | None = None

    @property
    def name(self) -> str:
        """The signal's name."""
        return "another rank's signal" if self.signal is None else self.signal.name

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Note a signal; its handler."""
        self.signal = signal.Signals(number)

    def agreed(self) -> bool:
        """Return whether a rank was asked to stop.

        All ranks call it after each step.
        """
        if self.group is None:
            return self.signal is not None
        answer = False
        if self._begun is not None:
            work, asked = self._begun
            work.wait()
            answer = bool(asked)
        asked = torch.tensor(float(self.signal is not None))
        self._begun = dist.all_reduce(asked, dist.ReduceOp.MAX, self.group, async_op=True), asked
        return answer


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note `SIGNALS` in a block, in place of ending the process.

    A thread other than the main one cannot handle signals, and notes none.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {one: signal.signal(one, request.note) for one in SIGNALS}
    try:
        yield request
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
