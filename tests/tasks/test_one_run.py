"""A second run into a folder in use is refused, by every command that writes one over a longer time."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.runtime.folder_lock import LOCK
from tests.commands import cakd, refused, train, write_recipe
from tests.data.record_files import people_folder
from tests.hosts.jobs import ROOT
from tests.runtime.test_folder_lock import holder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with people, a teacher's weights and its recipe."""
    monkeypatch.chdir(tmp_path)
    people_folder(tmp_path / "people", {"x": 2, "y": 3})
    torch.save(get_model("vit_tiny", num_features=64).state_dict(), tmp_path / "t.pt")
    write_recipe(tmp_path / "r.yaml", weights=str(tmp_path / "t.pt"))
    (tmp_path / "stages.yaml").write_text(
        "teacher: {network: vit_tiny, weights: t.pt}\nstudent: {stages: [{name: plain, recipe: null}]}\n"
        "losses: [{loss: cosine, weight: 64}]\n"
    )
    return tmp_path


def commands(face_set):
    """Return commands that write `out`, and whether they move it into place."""
    return {
        "train": (train(face_set, val_targets=[]), False),
        "resume": (train(face_set, "--resume", val_targets=[]), False),
        "distil": (train(face_set, "--distill", "r.yaml", val_targets=[]), False),
        "stages": (train(face_set, "--distill", "stages.yaml", val_targets=[]), False),
        "compare": (["compare", "r.yaml", "--seeds", "1", "--data", face_set, "--output", "out"], False),
        "quickstart": (["quickstart", "--output", "out"], False),
        "another quickstart": (["quickstart", "--task", "landmarks", "--output", "out"], False),
        "pack": (["data", "pack", "people", "out"], True),
        "unpack": (["data", "unpack", face_set, "out"], True),
        "faces": (["data", "faces", "out"], True),
        "cache-teacher": (["data", "cache-teacher", "r.yaml", face_set, "out"], True),
        "prototypes": (["data", "prototypes", "r.yaml", face_set, "out"], True),
    }


@pytest.fixture
def resumable(face_set, here):
    """Leave a run to resume in `out`."""
    assert cakd(*train(face_set, val_targets=[])).code == 0


@pytest.mark.parametrize("moved", [False, True], ids=["grow", "are moved into place"])
def test_folders_that(moved, here, face_set):
    """One holder for all commands: each is refused in one line that names it, and leaves everything as it was."""
    first = holder(here / "out", moved)
    try:
        tried = [
            arguments for name, (arguments, moves) in commands(face_set).items() if moves == moved and name != "resume"
        ]
        for arguments in tried:
            refused(
                arguments, rf".*out: another run writes it \(process {first.pid} on .*; expected one at a time", here
            )
    finally:
        first.kill()
        first.wait()
    assert len(tried) >= 5


def test_a_run_that_is_resumed(resumable, here, face_set):
    first = holder(here / "out")
    try:
        refused(commands(face_set)["resume"][0], r"out: another run writes it \(process", here)
    finally:
        first.kill()
        first.wait()
    assert cakd(*commands(face_set)["resume"][0]).code == 0, "what a kill leaves keeps nobody out"
    assert not (here / "out" / LOCK).exists()


def test_a_run_that_is_refused_leaves_no_lock_and_no_folder(here, face_set):
    assert cakd(*train(face_set, val_targets=[], batch_size=4096)).code == 1
    assert not (here / "out").exists()


def launched(*arguments, ranks=1):
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *torchrun, "-m", "insightface_cakd", *map(str, arguments)]
    return subprocess.Popen(
        command,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["r.yaml", "stages.yaml"])
def test_two_ranks_end_when_the_first_is_refused(recipe, here, face_set):
    first = holder(here / "out")
    try:
        ran = launched(*train(face_set, "--distill", recipe, val_targets=[], batch_size=4), ranks=2)
        said, _ = ran.communicate(timeout=280)
    finally:
        first.kill()
        first.wait()
    assert ran.returncode != 0
    assert re.search(rf"cakd: error: out: another run writes it \(process {first.pid} on ", said), said
    assert {path.name for path in (here / "out").iterdir()} == {LOCK}
    ran = launched(*train(face_set, "--distill", recipe, val_targets=[], batch_size=4), ranks=2)
    said, _ = ran.communicate(timeout=280)
    assert ran.returncode == 0, said
    assert not (here / "out" / LOCK).exists()


@pytest.mark.slow
def test_two_real_runs_into_one_folder_end_as_one(here, face_set):
    run = train(face_set, val_targets=["dev"], num_epoch=3)
    first = launched(*run)
    while not (here / "out" / LOCK).exists():
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGSTOP)
    second = launched(*run)
    said, _ = second.communicate(timeout=280)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert said.splitlines()[-1].startswith(f"cakd: error: out: another run writes it (process {first.pid} on "), said
    said, _ = first.communicate(timeout=280)
    assert first.returncode == 0, said
    assert json.loads((here / "out" / "result.json").read_text())["steps"] == 12
