"""A loader's worker that stops, hangs or dies: the run ends in one line and leaves no process, on both hosts."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
import torch

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.runtime import workers
from tests.hosts.embedded.jobs import small_job

SECONDS = 3
LINE = r"num_workers: DataLoader .*; expected workers that live as long as the run\. .* go on with --resume; num_workers=0 reads"

# The command itself, with a shorter patience; a worker is stopped after the first step.
COMMAND = """
import multiprocessing, os, signal, sys
from insightface_cakd.cli import main
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.runtime import workers
workers.PATIENCE, update = 3, train_v2.update
def update_and_stop(parts):
    update(parts)
    if parts.step == 1:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGSTOP)
train_v2.update = update_and_stop
sys.argv[0] = "cakd"
main()
"""


@pytest.fixture
def signalled(monkeypatch):
    """Send a signal to the workers of a run after its first step."""

    def arrange(number):
        update, before = train_v2.update, set(multiprocessing.active_children())

        def update_and_signal(parts):
            update(parts)
            if parts.step == 1:
                for worker in set(multiprocessing.active_children()) - before:
                    os.kill(worker.pid, number)

        monkeypatch.setattr(train_v2, "update", update_and_signal)
        monkeypatch.setattr(workers, "PATIENCE", SECONDS)

    return arrange


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_that_gives_nothing_ends_the_run_in_one_line(count, number, signalled, face_set, tmp_path):
    signalled(number)
    with pytest.raises(RunError, match=LINE) as raised:
        train_v2.main(small_job(face_set, tmp_path, num_workers=count, batch_size=2))
    assert "\n" not in str(raised.value)
    assert not [child for child in multiprocessing.active_children() if child.daemon], (
        "a stopped one would be waited for"
    )


def test_a_worker_that_is_stopped_for_a_moment_is_waited_for(signalled, face_set, tmp_path):
    signalled(signal.SIGSTOP)
    script = "import os, signal, sys, time; time.sleep(1)\nfor pid in sys.argv[1:]: os.kill(int(pid), signal.SIGCONT)"
    update = train_v2.update

    def update_and_go_on(parts):
        update(parts)
        if parts.step == 1:
            children = [str(child.pid) for child in multiprocessing.active_children() if child.daemon]
            subprocess.Popen([sys.executable, "-c", script, *children])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_v2, "update", update_and_go_on)
        patch.setattr(workers, "PATIENCE", 60)
        assert train_v2.main(small_job(face_set, tmp_path, num_workers=1, num_epoch=1)).steps == 4


def test_batches_are_handed_over_without_asking_the_worker(face_set, monkeypatch):
    """What torch does by default asks, and waits without a limit."""
    asks = torch.multiprocessing.reductions
    monkeypatch.setattr(asks, "rebuild_storage_fd", lambda *_: pytest.fail("asked the worker"))
    loader = train_v2.get_dataloader(str(face_set), 0, 12, num_workers=1, device=torch.device("cpu"))
    assert len(list(loader)) == 4
    assert torch.multiprocessing.get_sharing_strategy() == "file_descriptor", "this process stays as it was"


def test_an_error_of_the_run_itself_stays_what_it_is():
    with pytest.raises(RuntimeError, match="no such operator"), workers.worker_failures():
        raise RuntimeError("no such operator")


@pytest.mark.slow
def test_the_command_ends_with_one_line_though_its_worker_does_not(face_set, tmp_path):
    settings = ("num_workers=1", "batch_size=2", "device=cpu", "embedding_size=32", "warmup_epoch=0")
    sets = [part for one in settings for part in ("--set", one)]
    arguments = ["train", "faces_cnn_tiny", "--data", face_set, "--output", tmp_path / "out", *sets]
    ran = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("cakd: error: num_workers: DataLoader timed out after 3 seconds"), (
        ran.stderr
    )
