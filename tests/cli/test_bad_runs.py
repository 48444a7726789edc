"""Runs that cannot start, cannot go on or cannot be saved: one line, and what was there before stays as it was."""

import errno
import json
import re
from pathlib import Path

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import cakd, contents, error_line, refused, train, write_recipe
from tests.data.record_files import disk_full_after, people_folder
from tests.networks.onnx_models import channel_means

SAVED = {"model.pt", "best.pt", "checkpoint_gpu_0.pt", "result.json", "run.json"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_before(here, face_set):
    """The output folder of a run of one epoch."""
    assert cakd(*train(face_set)).code == 0
    return here / "out"


def saved(folder):
    """Return the digests of what a run saves; its log may grow."""
    return {name: digest for name, digest in contents(folder).items() if name in SAVED or name.endswith(".partial")}


def test_an_output_folder_that_holds_another_run(run_before, here, face_set):
    message = r"out: holds another run \(model\.pt, .*\); expected a new folder\. Pass --resume, --output DIR"
    refused(train(face_set), message, here)


@pytest.mark.parametrize("output", ["file", "file/below", "/proc/nobody/can"])
def test_an_output_folder_that_cannot_be_made(output, here, face_set):
    (here / "file").write_text("mine")
    message = rf"{output}: cannot be (made|written)|quickstart: {output} is"
    refused(train(face_set, output=output), message, here)
    people_folder(here / "faces", {name: 4 for name in "abcdefghijkl"})
    refused(["quickstart", "--data", "faces", "--output", output], rf".*{output}", here)
    refused(["data", "pack", "faces", output], rf"{output}: (exists already|cannot be written)", here)
    refused(["data", "split", "faces", output], rf"{output}", here)


def test_resume_without_a_checkpoint(here, face_set):
    message = r"--resume: out/checkpoint_gpu_0\.pt does not exist; expected the checkpoint .* Start it without --resume"
    refused(train(face_set, "--resume"), message, here)
    (here / "out").mkdir()
    refused(train(face_set, "--resume"), message, here)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path: path.write_bytes(path.read_bytes()[:5000]),
            r"--resume: out/checkpoint_gpu_0\.pt: cannot be read \(",
        ),
        (lambda path: path.write_bytes(b""), r"--resume: out/checkpoint_gpu_0\.pt: cannot be read \("),
        (
            lambda path: torch.save({"epoch": 1}, path),
            r"--resume: out/checkpoint_gpu_0\.pt .*expected a checkpoint of this",
        ),
        (
            lambda path: torch.save([1], path),
            r"--resume: out/checkpoint_gpu_0\.pt .*expected a checkpoint of this host",
        ),
    ],
    ids=["truncated", "empty", "other keys", "a list"],
)
def test_a_checkpoint_that_is_none(damage, message, run_before, here, face_set):
    damage(run_before / "checkpoint_gpu_0.pt")
    refused(train(face_set, "--resume", num_epoch=2), message, here)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding_size": 32}, r"--resume: the checkpoint's student does not fit \(.*\)\. Resume with the config"),
        ({"num_classes": 20}, r"--resume: the checkpoint's head does not fit \("),
        ({"network": "vit_tiny"}, r"--resume: the checkpoint's student does not fit \("),
        ({"optimizer": "adamw"}, r"--resume: the checkpoint's optimiser does not fit \("),
    ],
)
def test_a_checkpoint_of_another_config(changes, message, run_before, here, face_set):
    refused(train(face_set, "--resume", num_epoch=2, **changes), message, here)


def test_a_checkpoint_of_another_recipe(here, face_set):
    torch.save(get_model("vit_tiny", num_features=64).state_dict(), "teacher.pt")
    projected = {"loss": "cosine", "weight": 64, "projector": "linear"}
    taught = ["--distill", "own.yaml", "--teacher", "teacher.pt"]
    write_recipe(here / "own.yaml", projected)
    assert cakd(*train(face_set, *taught)).code == 0
    write_recipe(here / "own.yaml")
    message = r".*the method's state does not fit this recipe .*Resume with the recipe of the run"
    refused(train(face_set, "--resume", *taught, num_epoch=2), message, here)


POISONED = """
import torch

class Poisoned(torch.nn.Module):
    calls = 0

    def forward(self, images):
        # Batches of the run, not those with which it is tried and measured.
        self.calls += len(images) == 12
        return images[:, :, ::28, ::28].flatten(1) * (float("nan") if self.calls > {after} else 1)
"""


def test_a_term_that_is_not_finite_is_named_and_the_last_good_checkpoint_stays(here, face_set, monkeypatch):
    """The teacher gives NaN from its third batch on; a run of one epoch under a sound one came before."""
    monkeypatch.syspath_prepend(str(here))
    recipe = {"loss": "cosine", "weight": 64, "projector": "linear"}
    for name, after in (("sound", 999), ("poisoned", 2)):
        (here / f"{name}.py").write_text(POISONED.format(after=after))
        write_recipe(here / f"{name}.yaml", recipe, network=f"{name}:Poisoned")
    assert cakd(*train(face_set, "--distill", "sound.yaml")).code == 0
    before = saved(here / "out")
    line = error_line(cakd(*train(face_set, "--resume", "--distill", "poisoned.yaml", num_epoch=2)))
    assert re.match(r"step 6: term 'cosine' is not finite \(rank 0\); raw terms now: margin [\d.]+, cosine nan\.", line)
    assert saved(here / "out") == before
    assert set(before) == SAVED


def test_a_loss_that_is_not_finite_names_its_step(here, face_set):
    line = error_line(cakd(*train(face_set, lr=1e38)))
    assert re.match(r"step \d: (the loss is (nan|inf) \(rank 0\); expected a number|a weight is not finite)", line), (
        line
    )
    assert not saved(here / "out")


@pytest.mark.parametrize("room", [1000, 200_000], ids=["none", "for the student only"])
def test_a_disk_that_is_full_leaves_the_last_checkpoint(room, run_before, here, face_set):
    """The checkpoint holds more than the student; neither may be cut off."""
    before = saved(run_before)
    with disk_full_after(room):
        ran = cakd(*train(face_set, "--resume", num_epoch=2))
    line = error_line(ran)
    assert re.match(r"out/(model|best|checkpoint_gpu_0)\.pt: cannot be written \(.*\); what was saved before", line), (
        line
    )
    after = saved(run_before)
    assert set(after) == set(before)
    assert after["checkpoint_gpu_0.pt"] == before["checkpoint_gpu_0.pt"]
    assert cakd(*train(face_set, "--resume", num_epoch=2)).code == 0, "with room again, the run goes on"


@pytest.mark.parametrize("file", ["result.json", "run.json"])
def test_a_disk_that_is_full_at_the_last_small_file(file, here, face_set, monkeypatch):
    write_text = Path.write_text

    def full(path, *args, **kwargs):
        if file in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    line = error_line(cakd(*train(face_set)))
    assert re.match(rf"out/{file}: cannot be written \(No space left on device\); ", line), line
    assert file not in contents(here / "out")


def test_a_disk_that_is_full_while_data_or_a_model_is_written(run_before, here, face_set):
    people_folder(here / "faces", {name: 4 for name in "abcdefghijkl"})
    channel_means(here / "means.onnx")
    write_recipe(here / "own.yaml", network="onnx")
    for arguments in (
        ["data", "pack", "faces", "new/out"],
        ["data", "make-bin", "faces", "new/dev.bin", "--pairs", "20"],
        ["data", "split", "faces", "new/out", "--pairs", "20"],
        ["data", "unpack", face_set, "new/out"],
        ["data", "cache-teacher", "own.yaml", face_set, "new/cache", "--teacher", "means.onnx"],
        ["export", "out", "new/student.onnx"],
    ):
        with disk_full_after(400):
            refused(arguments, r".*cannot be written", here)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("folder.onnx", r"export folder\.onnx: cannot be written \(Is a directory\)"),
        ("file/a.onnx", r"export file/a\.onnx: cannot be wr"),
    ],
)
def test_an_onnx_path_that_cannot_be_written(out, message, run_before, here):
    (here / "folder.onnx").mkdir()
    (here / "file").write_text("mine")
    refused(["export", "out", out], message, here)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda run: (run / "result.json").unlink(),
            r"out: holds no result\.json; expected the output folder of a fin",
        ),
        (lambda run: (run / "run.json").write_text("{"), r"out/run\.json: not JSON"),
        (lambda run: (run / "run.json").write_text("{}"), r"out: which network these weights are of is not known"),
        (
            lambda run: (run / "run.json").write_text(json.dumps([1])),
            r"out/run\.json: holds a list; expected an object",
        ),
        (lambda run: (run / "model.pt").unlink(), r"out/model\.pt: does not exist; expected the weights of cnn_tiny"),
        (lambda run: (run / "model.pt").write_bytes(b"PK"), r"out/model\.pt: cannot be read"),
    ],
    ids=["unfinished", "cut", "empty", "a list", "no weights", "damaged weights"],
)
def test_a_run_that_cannot_be_exported(damage, message, run_before, here):
    damage(run_before)
    refused(["export", "out", "new/student.onnx"], message, here)
