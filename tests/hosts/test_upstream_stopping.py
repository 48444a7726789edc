"""Runs on a checkout that a cluster stops, whose workers stop, or that meet in one folder: real processes."""

import os
import re
import signal
import subprocess
import sys

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.runtime.folder_lock import only_writer
from insightface_cakd.runtime.stopping import STOPPED
from tests.hosts.jobs import ROOT, equal_weights, logged_losses, write_job, write_recipe
from tests.patched_runs import JOB, RECIPE, patched_copy

pytestmark = pytest.mark.upstream
SAVES = ("save_all_states=true", "num_epoch=2")
STOPPED_LINE = (
    r"SIGTERM: stopped after step {}; arcface_torch saves at the end of an epoch only, and what it saved there is whole"
)

# A worker is stopped as soon as there is one, with a shorter patience.
STOP_A_WORKER = """
import multiprocessing, os, signal, sys, threading, time
from insightface_cakd.cli import main
from insightface_cakd.runtime import workers
workers.PATIENCE = 3
def stop():
    while not multiprocessing.active_children():
        time.sleep(0.01)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGSTOP)
threading.Thread(target=stop, daemon=True).start()
sys.argv[0] = "cakd"
main()
"""


def signal_after(monkeypatch, step):
    """Send SIGTERM to this process at the end of a step, before arcface_torch's loop goes on."""
    from insightface_cakd.hosts.compat.stopping import _Stops

    begin = _Stops.begin

    def begin_and_signal(self, log):
        original = log.__call__

        def call(callback, number, *args, **kwargs):
            original(callback, number, *args, **kwargs)
            if number == step:
                os.kill(os.getpid(), signal.SIGTERM)

        log.__call__ = call
        begin(self, log)

    monkeypatch.setattr(_Stops, "begin", begin_and_signal)


@pytest.mark.parametrize(
    ("step", "saved"), [(2, None), (4, 1), (6, 1)], ids=["before any", "with the last step", "within"]
)
def test_a_stopped_run_ends_after_its_step_and_keeps_whole_epochs(step, saved, run, folder, monkeypatch):
    recipe, teacher = write_recipe(folder)
    given = {"distill": recipe, "teacher": teacher}
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        signal_after(patch, step)
        with pytest.raises(SystemExit) as ended:
            run("out", *SAVES, **given)
    assert ended.value.code == STOPPED == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert re.search(STOPPED_LINE.format(step), (folder / "out" / "training.log").read_text())
    checkpoint = folder / "out" / "checkpoint_gpu_0.pt"
    assert (torch.load(checkpoint, weights_only=True)["epoch"] if checkpoint.exists() else None) == saved
    assert not (folder / "out" / "run.json").exists(), "it did not end"
    if saved:
        run("out", *SAVES, resume=True, **given)
        assert torch.load(checkpoint, weights_only=True)["epoch"] == 2


def test_a_signal_after_the_last_step_lets_the_run_end(run, folder, monkeypatch):
    signal_after(monkeypatch, 4)
    run("out")
    assert (folder / "out" / "run.json").exists()


def test_hosts_fixes_change_no_weight(run, folder):
    run("with", *SAVES)
    run("without", *SAVES, no_fixes=("stop-signals", "worker-patience", "one-run"))
    assert equal_weights(folder / "with" / "model.pt", folder / "without" / "model.pt")
    assert logged_losses(folder / "with") == logged_losses(folder / "without")


def environment():
    kept = {key: value for key, value in os.environ.items() if key not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.slow
def test_the_command_ends_though_a_worker_of_the_checkout_does_not(folder, arcface_torch, face_set):
    arguments = ["train", write_job(folder, face_set), "--host", arcface_torch, "--output", folder / "out"]
    more = ["--set", "num_workers=1", "--set", "batch_size=2"]
    ran = subprocess.run(
        [sys.executable, "-c", STOP_A_WORKER, *map(str, arguments), *more],
        env=environment(), cwd=folder, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("cakd: error: num_workers: DataLoader timed out after 3 seconds"), (
        ran.stderr
    )


@pytest.mark.slow
def test_a_patched_script_is_stopped_by_a_real_signal_and_keeps_out_of_a_folder_in_use(
    arcface_torch, face_set, tmp_path
):
    copy = patched_copy(arcface_torch, tmp_path / "arcface_torch")
    output = tmp_path / "out"
    long = JOB.format(output=str(output), rec=str(face_set)).replace("num_epoch=1", "num_epoch=5000")
    (copy / "configs" / "long.py").write_text(long)
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("r18", "mbf"))
    torch.save(get_model("mbf", num_features=512).state_dict(), tmp_path / "mbf.pt")
    given = ["--distill", tmp_path / "mine.yaml", "--teacher", tmp_path / "mbf.pt"]
    command = [sys.executable, "train_v2.py", "configs/long", *given]
    script = {"env": environment(), "cwd": copy, "text": True}
    with only_writer(output):
        ran = subprocess.run(command, capture_output=True, timeout=280, check=False, **script)
        assert ran.returncode == 1
        assert re.search(r"train_v2\.py: error: .*out: another run writes it \(process \d+ on ", ran.stderr), ran.stderr
        assert not (output / "training.log").exists()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **script)
    said = []
    for line in process.stdout:
        said.append(line)
        if "Global Step: 7 " in line:
            process.send_signal(signal.SIGTERM)
    assert process.wait(120) == STOPPED, "".join(said)
    assert re.search(STOPPED_LINE.format(r"\d+"), "".join(said)), "".join(said)
    assert torch.load(output / "checkpoint_gpu_0.pt", weights_only=True)["epoch"] >= 2
    assert not (output / "maps.pt").exists()
