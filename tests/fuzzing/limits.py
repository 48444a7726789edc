"""Runs many hostile inputs in one child process, whose time and memory are limited."""

import gc
import os
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings

from insightface_cakd.errors import CAKDError
from tests.commands import ERROR, Ran, contents

MEMORY = 1 << 30


def inputs(count: int) -> settings:
    """Return hypothesis' settings: the same inputs in every run, as many as are asked for."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=checks)


def limited(batch: Callable[[], None], seconds: int = 240) -> None:
    """Run a batch in a child that may take 1 GB more than this process and so many seconds; its failure is the test's."""
    reader, writer = os.pipe()
    gc.collect()
    child = os.fork()
    if child == 0:
        # What earlier tests left is not for the child to finalise: it may wait for a thread that only the parent has.
        gc.freeze()
        os.close(reader)
        try:
            signal.alarm(seconds)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            batch()
        except BaseException:
            os.write(writer, traceback.format_exc().encode("utf-8", "backslashreplace")[-60_000:])
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    assert not os.WIFSIGNALED(status), (
        f"stopped by signal {os.WTERMSIG(status)} (14: more than {seconds} seconds)\n{said}"
    )
    assert os.WEXITSTATUS(status) == 0, said


def refusal(call: Callable[[], object]) -> str:
    """Return the line with which a call is refused, nothing for one that is not; any other exception passes."""
    try:
        call()
    except CAKDError as error:
        return str(error)
    return ""


def ends_well(ran: Ran) -> None:
    """Check that a command worked, or that it was refused in one line that is no fault of the package."""
    lines = ran.err.splitlines()
    assert "Traceback" not in ran.err, ran.err
    assert ran.code in (0, 1), (ran.code, ran.err)
    if ran.code == 1:
        assert lines, "no line says why"
        assert lines[-1].startswith(ERROR), ran.err
        assert sum(line.startswith(ERROR) for line in lines) == 1, ran.err


def untouched(folder: Path, before: dict[str, str]) -> None:
    """Check that a refused command left nothing behind."""
    assert contents(folder) == before
