"""Two processes never write one folder: the second says who holds it, and a killed holder leaves it free."""

import errno
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest

from insightface_cakd.errors import DataError, RunError
from insightface_cakd.runtime import atomic, folder_lock
from insightface_cakd.runtime.folder_lock import LOCK, only_writer

HOLD = """
import sys, time
from pathlib import Path
from insightface_cakd.runtime.folder_lock import only_writer
with only_writer(Path(sys.argv[1]), moved=sys.argv[2] == "True"):
    {forked}
    print("held", flush=True)
    time.sleep(60)
"""
# As a loader's worker does, the child outlives a parent that was killed; the parent waits until it is there.
FORK = """import os
    read, write = os.pipe()
    if os.fork() == 0: os.write(write, b"x"); time.sleep(20); os._exit(0)
    os.read(read, 1)"""


def holder(folder, moved=False, forked="pass"):
    """Start a process that holds a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(forked=forked), folder, str(moved)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("moved", [False, True])
def test_a_second_process_names_the_first_and_writes_nothing(moved, tmp_path):
    first = holder(tmp_path / "out", moved)
    before = sorted(tmp_path.rglob("*"))
    try:
        with pytest.raises(DataError) as refused, only_writer(tmp_path / "out", DataError, moved):
            pytest.fail("entered")
    finally:
        first.kill()
        first.wait()
    host = re.escape(os.uname().nodename)
    expected = rf".*out: another run writes it \(process {first.pid} on {host}, since 20\d\d-\d\d-\d\d [\d:]+ UTC\); expected one"
    assert re.match(expected, str(refused.value)), refused.value
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("forked", ["pass", FORK], ids=["alone", "a worker lives on"])
def test_a_killed_process_leaves_the_folder_free(forked, number, tmp_path):
    first = holder(tmp_path, forked=forked)
    first.send_signal(number)
    first.wait()
    assert (tmp_path / LOCK).is_file(), "what a kill leaves is a file, not a lock"
    with only_writer(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / LOCK).read_text()
    assert not list(tmp_path.iterdir())


def test_one_process_may_enter_again_and_leaves_no_folder_that_it_made(tmp_path):
    folder = tmp_path / "made" / "for" / "it"
    with only_writer(folder), only_writer(tmp_path / "made" / ".." / "made" / "for" / "it"):
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert not list(tmp_path.iterdir())


def test_what_a_block_wrote_stays(tmp_path):
    with suppress(KeyboardInterrupt), only_writer(tmp_path / "out"):
        (tmp_path / "out" / "kept").touch()
        raise KeyboardInterrupt
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept"]


def test_a_holder_that_ends_between_the_two_calls_does_not_leave_two_of_them(tmp_path, monkeypatch):
    """The file that was opened is not the one that lies there by then: its lock keeps nobody out."""
    fcntl, taken = folder_lock.fcntl, []

    def flock(descriptor, how):
        if not taken:
            (tmp_path / LOCK).unlink()
        taken.append(descriptor)
        fcntl.flock(descriptor, how)

    monkeypatch.setattr(
        folder_lock, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB)
    )
    with only_writer(tmp_path):
        assert len(taken) == 2
        assert os.path.samestat((tmp_path / LOCK).stat(), os.fstat(taken[1]))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, None])
def test_without_locks_a_word_is_said_and_the_block_runs(number, tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(number, "no locks")

    absent = None if number is None else SimpleNamespace(flock=flock, LOCK_EX=0, LOCK_NB=0)
    monkeypatch.setattr(folder_lock, "fcntl", absent)
    with only_writer(tmp_path / "out"):
        (tmp_path / "out" / "written").touch()
    assert "has no locks; another run that writes it would go unnoticed" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["written"]


def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(RunError, match="file/out: cannot be written .*nothing was left behind"),
        only_writer(tmp_path / "file" / "out"),
    ):
        pytest.fail("entered")


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_is_moved_into_place_is_written_by_one_process_at_a_time(is_folder, tmp_path):
    first = holder(tmp_path / "out", moved=True)
    try:
        with pytest.raises(DataError, match="another run writes it"), atomic.writing(tmp_path / "out", DataError):
            pytest.fail("entered")
    finally:
        first.kill()
        first.wait()
    with atomic.writing(tmp_path / "out", DataError) as temporary:
        temporary.mkdir() if is_folder else temporary.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_another_process_finished_meanwhile_is_refused_before_the_work(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").touch()
    with (
        pytest.raises(DataError, match="out: cannot be written .*not empty"),
        atomic.writing(tmp_path / "out", DataError),
    ):
        pytest.fail("entered")


def test_the_lock_of_this_process_does_not_count_as_content(tmp_path):
    with only_writer(tmp_path):
        atomic.require_new(tmp_path, RunError)
        (tmp_path / "other").touch()
        with pytest.raises(RunError, match="exists already"):
            atomic.require_new(tmp_path, RunError)


def test_many_processes_at_once_take_turns(tmp_path):
    """Locks come and go while others try: at no time do two hold one."""
    script = f"""
import os, sys, time
from insightface_cakd.errors import RunError
from insightface_cakd.runtime.folder_lock import only_writer
end, entered = time.monotonic() + 1.5, 0
while time.monotonic() < end:
    try:
        with only_writer({str(tmp_path / "out")!r}):
            os.close(os.open({str(tmp_path / "one")!r}, os.O_CREAT | os.O_EXCL))
            os.unlink({str(tmp_path / "one")!r})
            entered += 1
    except RunError:
        pass
sys.exit(not entered)
"""
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
