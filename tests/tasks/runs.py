"""Runs of a task: on several processes, and stopped and resumed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.runtime.stopping import STOPPED
from tests.commands import Ran

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"batch_size": 8, "num_epoch": 2, "warmup_epoch": 0, "num_workers": 0, "frequent": 1, "device": "cpu"}


def arguments(data, output, recipe, *more, **settings):
    """Return the command of a run of a few steps that verifies."""
    chosen = {"rec": str(data), "val_targets": ["dev"], "embedding_size": 64, "verify_epochs": 2, **SMALL, **settings}
    sets = [part for key, value in chosen.items() for part in ("--set", f"{key}={value!r}")]
    return ["train", "faces_cnn_tiny", "--output", str(output), "--distill", str(recipe), *sets, *map(str, more)]


def launch(ranks: int, folder: Path, command: Sequence[object]) -> str:
    """Run a command of `cakd` in processes of its own, which must end well; return what they print.

    Args:
        ranks: number of processes; more than one by torchrun.
        folder: working directory.
        command: without `cakd`.
    """
    launcher = [sys.executable]
    if ranks > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*launcher, "-m", "insightface_cakd", *map(str, command)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def check_one_student(output: Path) -> dict[str, Any]:
    """Check that two ranks have the same student; return the first rank's checkpoint."""
    first, second = (torch.load(output / f"checkpoint_gpu_{rank}.pt", weights_only=True) for rank in (0, 1))
    for key, value in first["state_dict_backbone"].items():
        assert torch.equal(value, second["state_dict_backbone"][key]), key
    return first


def stop_and_resume(run: Callable[..., Ran], whole: str = "whole", parts: str = "parts") -> None:
    """Run once without a stop, and once stopped in an epoch, resumed, stopped after an epoch and resumed.

    Args:
        run: called with the name of the output folder and more arguments of the command.
        whole: output of the run without a stop.
        parts: output of the other.
    """
    assert run(whole).code == 0
    save, update = train_v2.verify_and_save, train_v2.update

    def update_and_signal(*given):
        update(*given)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_v2, "update", update_and_signal)
        assert run(parts).code == STOPPED

    def save_and_stop(parts, *given):
        save(parts, *given)
        raise RunError("stopped after an epoch")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_v2, "verify_and_save", save_and_stop)
        stopped = run(parts, "--resume")
        assert "stopped after an epoch" in stopped.err, stopped
    assert run(parts, "--resume").code == 0


def check_resumed(run: Callable[..., Ran], folder: Path) -> None:
    """Check that a stopped run goes on to the same weights; see `stop_and_resume`."""
    stop_and_resume(run)
    whole, parts = (torch.load(folder / name / "model.pt", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
