"""Processes of a script, of which none waits for a failed one."""

import multiprocessing
import signal
import sys
import traceback
from contextlib import ExitStack
from typing import Any, ClassVar

from insightface_cakd.errors import CAKDError, RunError
from insightface_cakd.hosts.compat.fix import fix_for_every_version, replace
from insightface_cakd.hosts.failures import describe
from insightface_cakd.runtime.foreign import print_traceback

POLL_SECONDS = 0.2


class WatchedProcess(multiprocessing.Process):
    """A process whose error is raised where any one is joined.

    An uncaught exception becomes one line, sent to the parent. `join()` without a timeout then ends all started
    processes and raises the line as a RunError.
    """

    started: ClassVar[list["WatchedProcess"]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.said: multiprocessing.SimpleQueue[str] = multiprocessing.SimpleQueue()
        self.asked_to_stop = False

    def start(self) -> None:
        """Start the process and watch it."""
        super().start()
        WatchedProcess.started.append(self)

    def run(self) -> None:
        """Run the target and send its error to the parent process."""
        # A request to stop unwinds the stack, so that no half-written file is left.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        try:
            super().run()
        except Exception as error:
            print_traceback(error)
            self.said.put(_in_one_line(error, self.name))
            sys.exit(1)

    def terminate(self) -> None:
        """Ask the process to stop; stopping then is no error."""
        self.asked_to_stop = True
        super().terminate()

    def kill(self) -> None:
        """End the process; ending then is no error."""
        self.asked_to_stop = True
        super().kill()

    def join(self, timeout: float | None = None) -> None:
        """Wait for any's error too; with a timeout for it alone."""
        if timeout is not None:
            super().join(timeout)
            return
        while self.exitcode is None and not _failed():
            super().join(POLL_SECONDS)
        for process in _failed():
            _end_all()
            if process.said.empty():
                raise RunError(f"{process.name}: ended by signal {-(process.exitcode or 0)}; expected it to finish.")
            raise RunError(process.said.get())


def _failed() -> list[WatchedProcess]:
    """Return the processes that raised an exception or were killed without being asked to stop."""
    ended = [process for process in WatchedProcess.started if process.exitcode not in (None, 0)]
    killed = [process for process in ended if (process.exitcode or 0) < 0 and not process.asked_to_stop]
    failed = [process for process in ended if process in killed or not process.said.empty()]
    # Those with an error message come first.
    return sorted(failed, key=lambda process: process.said.empty())


def _end_all() -> None:
    for process in WatchedProcess.started:
        if process.is_alive():
            process.terminate()
            super(WatchedProcess, process).join()


def _in_one_line(error: Exception, process: str) -> str:
    if isinstance(error, CAKDError):
        return describe(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{process}, {last.filename}:{last.lineno}: {describe(error)}"


def _watch(stack: ExitStack) -> None:
    WatchedProcess.started.clear()
    replace(stack, multiprocessing, "Process", WatchedProcess)
    stack.callback(WatchedProcess.started.clear)


PROCESS_ERRORS = fix_for_every_version(
    name="process-errors",
    breaks="scripts/shuffle_rec.py:66-75: when reading stops with an error, writing waits for ever",
    fix="the processes that a script starts are ended when one of them stops with an error, which is shown",
    until="arcface_torch looks at its processes",
    apply=_watch,
)
