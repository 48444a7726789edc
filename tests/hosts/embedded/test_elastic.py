"""Two agents of torchrun on this machine stand for two machines: one is lost, the other goes on, and it comes back."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
import torch

from benchmarks.small_runs import kill_all
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.tasks.runs import ROOT, arguments

pytestmark = pytest.mark.slow
PATIENCE = 240
ELASTIC = ["--nnodes", "1:2", "--nproc_per_node", "1", "--max_restarts", "5", "--rdzv_backend", "c10d"]
# Without it an agent that comes back waits in vain for the address of the first (torch 2.15, `DynamicRendezvousHandler`).
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
WAIT = "timeout=120,last_call_timeout=3,join_timeout=120,keep_alive_interval=1,keep_alive_max_attempt=3"
STARTED = re.compile(r"batch \d+ x (\d+), (\d+) steps")


class Agents:
    """Starts agents of one run, each with a log."""

    def __init__(self, folder, command):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.command = folder, command

    def start(self, name):
        log = (self.folder / f"{name}.log").open("ab")
        launcher = [sys.executable, "-m", "torch.distributed.run", *ELASTIC, "--rdzv_conf", WAIT]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            [*launcher, "--rdzv_endpoint", f"127.0.0.1:{self.port}", "-m", "insightface_cakd", *self.command],
            stdout=log,
            stderr=log,
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **OWN_STORE},
        )

    def meet(self):
        """Return whether an agent keeps the store."""
        with socket.socket() as other:
            return other.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self):
        return "".join((self.folder / f"{name}.log").read_text(errors="replace") for name in ("first", "second"))


def until(condition, what):
    """Wait for a condition."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < PATIENCE, f"{what}: not within {PATIENCE} s"
        time.sleep(0.2)


def saved_epochs(output):
    """Return the completed epochs and the ranks of the newest checkpoint."""
    try:
        content = torch.load(output / "checkpoint_gpu_0.pt", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError):
        return 0, 0
    return content["epoch"], content["world_size"]


def test_a_lost_machine_is_done_without_and_taken_back(face_set, tmp_path):
    output, epochs = tmp_path / "out", 60
    command = arguments(
        face_set, output, "qud", "--auto-resume", num_epoch=epochs, verify_epochs=epochs, sample_rate=1.0
    )
    torch.manual_seed(0)
    torch.save(get_model("vit_tiny", num_features=64).state_dict(), tmp_path / "teacher.pt")
    agents = Agents(tmp_path, [*command, "--teacher", str(tmp_path / "teacher.pt")])
    with ExitStack() as stack:
        first = agents.start("first")
        stack.callback(lambda: kill_all(first.pid))
        # Whoever comes first keeps the store of all; it must not be the one that is lost.
        until(agents.meet, "the first agent")
        second = agents.start("second")
        stack.callback(lambda: kill_all(second.pid))
        until(lambda: saved_epochs(output)[0] >= 2, "two epochs of both")
        assert saved_epochs(output)[1] == 2
        kill_all(second.pid)
        lost_at = saved_epochs(output)[0]
        until(lambda: saved_epochs(output)[1] == 1, "an epoch of the first alone")
        assert saved_epochs(output)[0] > lost_at - 1
        back = agents.start("second")
        stack.callback(lambda: kill_all(back.pid))
        until(lambda: saved_epochs(output)[1] == 2 or first.poll() is not None, "an epoch of both again")
        assert first.poll() is None, agents.said()[-3000:]
        until(lambda: first.poll() is not None and back.poll() is not None, "the end")
    said = agents.said()
    assert (first.returncode, back.returncode) == (0, 0), said[-3000:]
    assert {ranks for ranks, _ in STARTED.findall(said)} == {"1", "2"}
    assert saved_epochs(output)[0] == epochs
    assert json.loads((output / "result.json").read_text())["accuracy"]["dev"] >= 0
