"""Whole runs on several ranks over gloo, as torchrun starts them: distillation, batch-norm statistics, resume."""

import json
import os
import subprocess
import sys

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model

pytestmark = pytest.mark.slow

JOB = """
import os, signal, sys
from pathlib import Path
import torch
from insightface_cakd.tasks import seam
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.teachers import PromptedTeacher, Teacher
from tests.hosts.embedded.jobs import small_job

data, output, mode, killed_at, sample_rate, method = sys.argv[1:]
torch.set_num_threads(1)
terms = {"teacher": {"network": "x"}, "losses": [
    {"loss": "cosine", "weight": 8, "schedule": {"kind": "linear", "steps": 3}},
    {"loss": "rkd_distance", "weight": 2},
    {"loss": "fitnet", "weight": 1, "student": "layer4", "teacher": "layer4", "projector": "conv1x1"}]}
cakd = {"teacher": {"network": "x", "prompts": {}}, "urfm": {"student": "layer4", "centres": 9, "width": 32, "heads": 4},
    "losses": [{"loss": name, "weight": 1} for name in ("urfm_attention", "urfm_feature", "urfm_anchor", "prompt_anchor")]}
if method == "pairs":
    cakd["urfm"]["more"] = [{"student": "layer3", "teacher": "blocks.1"}]
recipe = parse_recipe(terms if method == "terms" else cakd, "recipe")
with torch.random.fork_rng():
    torch.manual_seed(3)
    kind, network = (Teacher, "cnn_tiny") if method == "terms" else (PromptedTeacher, "vit_tiny")
    teacher = kind(train_v2.get_model(network, num_features=32), "x", 32, "cpu")
update = train_v2.update
def killing(parts):
    update(parts)
    if parts.step == int(killed_at):
        os.kill(os.getpid(), signal.SIGKILL)
train_v2.update = killing
job = small_job(Path(data), Path(output), batch_size=4, num_epoch=3, sample_rate=float(sample_rate))
with seam.installed(train_v2, recipe, {"teacher": teacher}, Path(output) / "distill" if os.environ.get("RANK", "0") == "0" else None, 2):
    train_v2.main(job, resume=mode == "resume")
"""


def start(face_set, output, ranks=2, mode="new", killed_at=-1, sample_rate=1.0, method="terms"):
    """Run the job under torchrun and return the finished process."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc_per_node={ranks}",
        "--no-python",
    ]
    job = [sys.executable, "-c", JOB, face_set, output, mode, killed_at, sample_rate, method]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*launcher, *map(str, job)], capture_output=True, text=True, env=environment, timeout=300)


def checkpoints(folder, ranks=2):
    return [torch.load(folder / f"checkpoint_gpu_{rank}.pt", weights_only=True) for rank in range(ranks)]


@pytest.fixture(scope="module")
def whole(face_set, tmp_path_factory):
    """Return the folder of an uninterrupted run on two ranks."""
    output = tmp_path_factory.mktemp("ranks") / "whole"
    run = start(face_set, output)
    assert run.returncode == 0, run.stderr
    return output


def test_two_ranks_distil_and_leave_one_plain_student(whole):
    get_model("cnn_tiny", num_features=32).load_state_dict(
        torch.load(whole / "model.pt", weights_only=True), strict=True
    )
    assert json.loads((whole / "result.json").read_text())["accuracy"].keys() == {"dev"}


def test_ranks_end_with_equal_students_statistics_and_projectors(whole):
    first, second = checkpoints(whole)
    for key, value in first["state_dict_backbone"].items():
        assert torch.equal(value, second["state_dict_backbone"][key]), key
    shared = [key for key in first["state_dict_softmax_fc"] if key.startswith("cakd.")]
    assert any("projectors" in key for key in shared)
    for key in shared:
        ours, theirs = (saved["state_dict_softmax_fc"][key] for saved in (first, second))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_each_rank_holds_its_own_classes(whole):
    first, second = (saved["state_dict_softmax_fc"]["weight"] for saved in checkpoints(whole))
    assert not torch.equal(first[: len(second)], second)


@pytest.mark.parametrize(
    "changes",
    [{}, {"sample_rate": 0.5}, {"method": "cakd"}, {"method": "pairs"}],
    ids=str,
)
def test_two_ranks_stopped_with_sigkill_and_resumed_end_with_the_same_weights(face_set, tmp_path, whole, changes):
    expected = whole
    if changes:
        expected = tmp_path / "whole"
        assert start(face_set, expected, **changes).returncode == 0
    stopped = tmp_path / "stopped"
    assert start(face_set, stopped, killed_at=8, **changes).returncode != 0
    resumed = start(face_set, stopped, mode="resume", **changes)
    assert resumed.returncode == 0, resumed.stderr
    for ours, theirs in zip(checkpoints(stopped), checkpoints(expected), strict=True):
        assert ours["global_step"] == theirs["global_step"]
        for part in ("state_dict_backbone", "state_dict_softmax_fc"):
            assert ours[part].keys() == theirs[part].keys()
            for key, value in theirs[part].items():
                assert torch.equal(ours[part][key], value), key


def test_ranks_learn_the_same_prompts_and_fields(face_set, tmp_path):
    ran = start(face_set, tmp_path / "out", method="cakd")
    assert ran.returncode == 0, ran.stderr
    first, second = (saved["state_dict_softmax_fc"] for saved in checkpoints(tmp_path / "out"))
    shared = [key for key in first if key.startswith("cakd.")]
    assert {"cakd.prompts.sets.0", "cakd.urfm.scaled.student.moments", "cakd.urfm.readout.weight"} <= set(shared)
    for key in shared:
        assert torch.equal(first[key], second[key]), key


def test_one_rank_goes_on_where_two_were_killed(face_set, tmp_path):
    output = tmp_path / "out"
    assert start(face_set, output, killed_at=8).returncode != 0
    run = start(face_set, output, ranks=1, mode="resume")
    assert run.returncode == 0, run.stderr
    assert "the checkpoint is of 2 ranks, divided among 1 now" in run.stdout
    saved = torch.load(output / "checkpoint_gpu_0.pt", weights_only=True)
    assert (saved["epoch"], saved["world_size"], len(saved["state_dict_softmax_fc"]["weight"])) == (3, 1, 12)
    assert not (output / "checkpoint_gpu_1.pt").exists()


def test_three_ranks_go_on_where_two_were_killed(face_set, tmp_path):
    output = tmp_path / "out"
    assert start(face_set, output, killed_at=8).returncode != 0
    run = start(face_set, output, ranks=3, mode="resume")
    assert run.returncode == 0, run.stderr
    assert [len(saved["state_dict_softmax_fc"]["weight"]) for saved in checkpoints(output, 3)] == [4, 4, 4]
