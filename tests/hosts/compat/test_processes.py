"""Processes that a script starts: waited for, ended together, forked, and their errors told."""

import multiprocessing
import time
from pathlib import Path

import pytest

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.scripts import run_script
from tests.hosts.checkouts import made_up_checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return made_up_checkout(tmp_path / "arcface_torch")


PROCESSES = """
import multiprocessing, os, sys


def read(queue):
    {read}


def wait(queue):
    queue.get()


if __name__ == "__main__":
    queue = multiprocessing.Queue()
    reader = multiprocessing.Process(target=read, args=(queue,), daemon=True)
    reader.start()
    waiter = multiprocessing.Process(target=wait, args=(queue,))
    waiter.start()
    waiter.join()
"""


# What cannot be sent to a process that starts afresh.
LOCAL = """
import multiprocessing, sys

if __name__ == "__main__":

    def here():
        open(sys.argv[1], "w").write(multiprocessing.get_start_method())

    process = multiprocessing.Process(target=here)
    process.start()
    process.join()
"""


@pytest.mark.parametrize(
    ("read", "told"),
    [
        ("raise OSError('no disk')", r"parts.py:6: OSError: no disk"),
        ("import mxnet; mxnet.cpu()", r"mxnet stand-in: mxnet.cpu is not served"),
        ("os.kill(os.getpid(), 9)", r"ended by signal 9"),
    ],
)
def test_a_process_that_stops_does_not_leave_the_others_waiting(checkout: Path, read: str, told: str):
    (checkout / "parts.py").write_text(PROCESSES.format(read=read))
    start = time.monotonic()
    with pytest.raises(RunError, match=told):
        run_script("parts.py", host=checkout)
    assert time.monotonic() - start < 30
    assert multiprocessing.active_children() == []


def test_processes_that_end_well_are_waited_for(checkout: Path):
    (checkout / "parts.py").write_text(PROCESSES.format(read="queue.put(1)"))
    assert run_script("parts.py", host=checkout) == 0


def test_a_process_is_forked_where_that_is_not_the_default(checkout: Path, tmp_path: Path):
    (checkout / "local.py").write_text(LOCAL)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert run_script("local.py", [str(tmp_path / "done")], checkout) == 0
        assert multiprocessing.get_start_method() == "spawn"
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert (tmp_path / "done").read_text() == "fork"


def test_a_process_that_the_script_itself_ends_is_no_error(checkout: Path):
    ended = PROCESSES.format(read="queue.get()").replace("waiter.join()", "waiter.terminate(); waiter.join()")
    (checkout / "parts.py").write_text(ended)
    assert run_script("parts.py", host=checkout) == 0
