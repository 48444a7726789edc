"""A run from start to end: what it leaves behind, how it resumes, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest
import torch

from insightface_cakd.errors import CAKDError, DataError, RunError
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.runtime.tensor_file import save_atomically
from tests.hosts.embedded.jobs import small_job


def weights(folder):
    return torch.load(folder / "model.pt", weights_only=True)


def test_a_run_leaves_a_student_that_loads_strictly_into_the_plain_network(face_set, tmp_path):
    result = train_v2.main(small_job(face_set, tmp_path))
    get_model("cnn_tiny", num_features=32).load_state_dict(weights(tmp_path), strict=True)
    assert {"model.pt", "best.pt", "checkpoint_gpu_0.pt", "result.json", "training.log", "tensorboard"} <= set(
        os.listdir(tmp_path)
    )
    assert result.steps == 8
    assert json.loads((tmp_path / "result.json").read_text())["accuracy"] == result.accuracy
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".partial")]


@pytest.mark.parametrize("kept", [True, False])
def test_resuming_a_finished_run_trains_nothing_and_keeps_its_result(face_set, tmp_path, kept):
    """Also if it was killed between its last checkpoint and its result."""
    train_v2.main(small_job(face_set, tmp_path))
    before, student = json.loads((tmp_path / "result.json").read_text()), weights(tmp_path)
    if not kept:
        (tmp_path / "result.json").unlink()
    train_v2.main(small_job(face_set, tmp_path), resume=True)
    after = json.loads((tmp_path / "result.json").read_text())
    for name in ("accuracy", "best", "steps", *(("seconds", "images_per_second") if kept else ())):
        assert after[name] == before[name], name
    assert all(torch.equal(value, student[key]) for key, value in weights(tmp_path).items())


def test_equal_seeds_give_equal_weights_whatever_the_workers(face_set, tmp_path):
    train_v2.main(small_job(face_set, tmp_path / "a", num_epoch=1))
    train_v2.main(small_job(face_set, tmp_path / "b", num_epoch=1, num_workers=2))
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(tmp_path / "a").values(), weights(tmp_path / "b").values(), strict=True)
    )


JOB = """
import os, signal, sys
from pathlib import Path
from insightface_cakd.tasks import seam
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.teachers import PromptedTeacher, Teacher
import torch
from tests.hosts.embedded.jobs import small_job

data, output, resume, killed_at = sys.argv[1], sys.argv[2], sys.argv[3] == "resume", int(sys.argv[4])
torch.set_num_threads(1)
terms = {"teacher": {"network": "x"}, "losses": [
    {"loss": "cosine", "weight": 8, "schedule": {"kind": "linear", "steps": 6}},
    {"loss": "fitnet", "weight": 1, "student": "layer4", "teacher": "layer4", "projector": "conv1x1"}]}
cakd = {"teacher": {"network": "x", "prompts": {}}, "urfm": {"student": "layer4", "centres": 9, "width": 32, "heads": 4},
    "losses": [{"loss": name, "weight": 1} for name in ("urfm_attention", "urfm_feature", "urfm_anchor", "prompt_anchor")]}
torch.manual_seed(3)
if sys.argv[5] == "cakd":
    recipe, teacher = cakd, PromptedTeacher(train_v2.get_model("vit_tiny", num_features=32), "x", 32, "cpu")
else:
    recipe, teacher = terms, Teacher.of_network(train_v2.get_model("cnn_tiny", num_features=32), "x", 32, "cpu")
recipe = parse_recipe(recipe, "recipe")
update = train_v2.update
def killing(parts):
    update(parts)
    if parts.step == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
train_v2.update = killing
with seam.installed(train_v2, recipe, {"teacher": teacher}):
    train_v2.main(small_job(Path(data), Path(output), num_epoch=3), resume=resume)
"""


STATE = {
    "terms": {"cakd.projectors.fitnet.channels.weight"},
    "cakd": {"cakd.prompts.sets.0", "cakd.urfm.scaled.teacher.moments", "cakd.urfm.readout.weight"},
}


@pytest.mark.parametrize(
    ("method", "killed_at"),
    [("terms", 5), pytest.param("terms", 8, marks=pytest.mark.slow), pytest.param("cakd", 5, marks=pytest.mark.slow)],
)
def test_a_run_stopped_with_sigkill_and_resumed_ends_with_the_same_weights(face_set, tmp_path, method, killed_at):
    def run(output, mode, step):
        arguments = [face_set, tmp_path / output, mode, str(step), method]
        return subprocess.run([sys.executable, "-c", JOB, *arguments], capture_output=True, text=True)

    whole = run("whole", "new", -1)
    assert whole.returncode == 0, whole.stderr
    assert run("stopped", "new", killed_at).returncode == -signal.SIGKILL
    resumed = run("stopped", "resume", -1)
    assert resumed.returncode == 0, resumed.stderr
    expected, found = (
        torch.load(tmp_path / name / "checkpoint_gpu_0.pt", weights_only=True) for name in ("whole", "stopped")
    )
    assert found["global_step"] == expected["global_step"] == 12
    for part in ("state_dict_backbone", "state_dict_softmax_fc"):
        assert list(found[part]) == list(expected[part])
        assert all(torch.equal(found[part][key], expected[part][key]) for key in expected[part])
    assert STATE[method] <= found["state_dict_softmax_fc"].keys()
    assert not [key for key in found["state_dict_backbone"] if "prompts" in key or "urfm" in key]


def test_accumulated_gradients_are_divided_by_their_number():
    head = torch.nn.Linear(3, 1)
    rows, labels = torch.rand(4, 3), torch.zeros(4, dtype=torch.int64)
    parts = SimpleNamespace(
        cfg=SimpleNamespace(precision="fp32"),
        device=torch.device("cpu"),
        student=torch.nn.Identity(),
        head=lambda x, _: head(x).mean(),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
    )
    train_v2.backward(parts, (rows[:2],), labels[:2], micro_steps=2)
    train_v2.backward(parts, (rows[2:],), labels[2:], micro_steps=2)
    torch.testing.assert_close(head.weight.grad, rows.mean(0, keepdim=True))


def test_the_last_micro_batches_of_an_epoch_are_not_dropped(face_set, tmp_path):
    assert train_v2.main(small_job(face_set, tmp_path, batch_size=6, gradient_acc=3, num_epoch=1)).steps == 3, (
        "8 batches in threes"
    )


def test_steps_come_from_the_loader_not_from_num_image(face_set, tmp_path):
    assert train_v2.main(small_job(face_set, tmp_path, num_image=10**6, num_epoch=1)).steps == 4


def test_an_output_folder_that_holds_another_run_is_refused(face_set, tmp_path):
    train_v2.main(small_job(face_set, tmp_path, num_epoch=1))
    before = (tmp_path / "model.pt").stat().st_mtime_ns
    with pytest.raises(RunError, match=r"holds another run \(model\.pt, .*; expected a new folder\. Pass --resume"):
        train_v2.main(small_job(face_set, tmp_path))
    assert (tmp_path / "model.pt").stat().st_mtime_ns == before


def test_resume_without_a_checkpoint_is_refused(face_set, tmp_path):
    with pytest.raises(RunError, match=r"--resume: .*checkpoint_gpu_0\.pt does not exist"):
        train_v2.main(small_job(face_set, tmp_path / "new"), resume=True)
    assert not (tmp_path / "new").exists()


def test_a_truncated_checkpoint_is_refused(face_set, tmp_path):
    train_v2.main(small_job(face_set, tmp_path, num_epoch=1))
    path = tmp_path / "checkpoint_gpu_0.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="cannot be read"):
        train_v2.main(small_job(face_set, tmp_path), resume=True)


def test_a_checkpoint_of_another_network_is_refused(face_set, tmp_path):
    train_v2.main(small_job(face_set, tmp_path, num_epoch=1))
    with pytest.raises(RunError, match="checkpoint's student does not fit"):
        train_v2.main(small_job(face_set, tmp_path, embedding_size=16), resume=True)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"num_classes": 5}, RunError, r"label 5, and \d+ images like it are outside \[0, 5\)"),
        ({"val_targets": ["lfw"]}, RunError, r"lfw\.bin does not exist; found: dev"),
        ({"rec": "nowhere"}, DataError, "nowhere: no such folder"),
        ({"batch_size": 1000}, RunError, "expected at least one batch of 1000"),
        ({"network": "r51"}, RunError, "r51"),
        ({"optimizer": "lion"}, RunError, "optimizer is 'lion'; expected sgd or adamw"),
        ({"num_epoch": 0}, RunError, "num_epoch is 0; expected a whole number of at least 1"),
        ({"dali": True}, RunError, "expected dali=False"),
        ({"device": "tpu"}, RunError, "device 'tpu'"),
        ({"margin_list": (1.0, 0.3, 0.2)}, RunError, "margin_list"),
    ],
)
def test_what_cannot_run_is_said_in_one_line_before_anything_is_written(face_set, tmp_path, changes, error, message):
    with pytest.raises(error, match=message) as caught:
        train_v2.main(small_job(face_set, tmp_path / "out", **changes))
    assert isinstance(caught.value, CAKDError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "model.pt").exists()


def test_a_loss_that_is_not_finite_stops_at_its_step_and_saves_nothing(face_set, tmp_path, monkeypatch):
    train_v2.main(small_job(face_set, tmp_path, num_epoch=1))
    good = weights(tmp_path)
    backward = train_v2.backward

    def poisoned(parts, inputs, labels, micro_steps):
        images = inputs[0] * float("nan") if parts.step == 5 else inputs[0]
        return backward(parts, (images,), labels, micro_steps)

    monkeypatch.setattr(train_v2, "backward", poisoned)
    with pytest.raises(RunError, match=r"step 6: the loss is nan"):
        train_v2.main(small_job(face_set, tmp_path), resume=True)
    assert all(torch.equal(a, b) for a, b in zip(good.values(), weights(tmp_path).values(), strict=True))


@pytest.mark.skipif(sys.platform == "win32", reason="limits a file's size with resource.setrlimit, which Windows lacks")
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path):
    script = textwrap.dedent("""
        import resource, signal, sys, torch
        from pathlib import Path
        from insightface_cakd.runtime.tensor_file import save_atomically
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        save_atomically({"a": torch.zeros(10**6)}, Path(sys.argv[1]))
    """)
    path = tmp_path / "model.pt"
    save_atomically({"a": torch.ones(3)}, path)
    run = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
    assert "RunError" in run.stderr
    assert "cannot be written" in run.stderr
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.ones(3))
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_broken_record_surfaces_instead_of_hanging_the_loader(face_set, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for file in face_set.iterdir():
        (data / file.name).write_bytes(file.read_bytes())
    content = bytearray((data / "train.rec").read_bytes())
    start = content.index(b"\xff\xd8\xff", len(content) // 2)
    content[start : start + 400] = bytes(400)
    (data / "train.rec").write_bytes(content)
    started = time.monotonic()
    with pytest.raises(DataError, match=r"train\.rec: record \d+ .*not an image"):
        train_v2.main(small_job(data, tmp_path / "out", num_workers=2))
    assert time.monotonic() - started < 60
