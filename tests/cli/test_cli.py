"""The command line as a user meets it: help everywhere, one line and exit code 1 for a mistake."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from insightface_cakd.cli import main

COMMANDS = [
    [],
    ["quickstart"],
    ["train"],
    ["bench"],
    ["cost"],
    ["eval"],
    ["eval", "bin"],
    ["eval", "mixed"],
    ["eval", "identify"],
    ["eval", "compare"],
    ["export"],
    ["export-pack"],
    ["data"],
    ["data", "pack"],
    ["data", "align"],
    ["data", "cache-teacher"],
    ["data", "prototypes"],
    ["recipes"],
    ["recipes", "list"],
    ["doctor"],
]


@pytest.fixture
def cakd(capsys, monkeypatch):
    """Run a command in this process and return its exit code and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["cakd", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return SimpleNamespace(
            returncode=stopped.value.code or 0, stdout=(said := capsys.readouterr()).out, stderr=said.err
        )

    return SimpleNamespace(run=run)


def test_the_module_runs_as_torchrun_starts_it():
    run = subprocess.run([sys.executable, "-m", "insightface_cakd", "--version"], capture_output=True, text=True)
    assert run.stdout.startswith("insightface-cakd ")


def test_help_comes_at_once_since_torch_is_not_imported_for_it():
    asked = "import sys; from insightface_cakd.cli import build; build(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert run.stdout == "False\n", run.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command, cakd):
    run = cakd.run(*command, "--help")
    assert run.returncode == 0, run.stderr
    assert "Usage:" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "faces_cnn"], "config faces_cnn: no such file"),
        (["train", "faces_cnn_tiny"], "config: rec is not set"),
        (["train", "faces_cnn_tiny", "--set", "rec=nowhere"], "nowhere: no such folder"),
        (["recipes", "show", "cosin"], "Did you mean 'cosine'?"),
        (["eval", "bin", "missing.onnx", "x.bin"], "missing.onnx: does not exist"),
        (["export", "missing.pt", "out.onnx", "--network", "mbf"], "missing.pt: does not exist"),
        (["export", "missing.onnx"], "where to write is not said"),
        (["export", "missing.onnx", "--check", "mfr"], "there is no --check any more"),
        (
            ["export-pack", "--student", "a.onnx", "--detector", "b.onnx", "--output", "p", "--name", "n"],
            "--student a.onnx: does not exist",
        ),
        (["data", "pack", "nowhere", "out"], "nowhere: no such folder"),
        (["data", "align", "nowhere", "out", "--detector", "d.onnx"], "nowhere: no such folder"),
        (["data", "check", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_exit_code_1_and_leaves_nothing(
    arguments, message, cakd, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = cakd.run(*arguments)
    assert run.returncode == 1
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    assert lines[-1].startswith("cakd: error: ")
    assert message in lines[-1]
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())


def test_recipes_are_listed_shown_and_checked(cakd):
    listed = cakd.run("recipes", "list").stdout
    assert "cosine" in listed
    assert "loss: cosine" in cakd.run("recipes", "show", "cosine").stdout
    assert "kd: 1 x kd, reads the logits" in cakd.run("recipes", "check", "kd").stdout


def test_the_doctor_says_whether_a_run_would_start(face_set, cakd):
    good = cakd.run("doctor", "--config", "faces_cnn_tiny", "--data", face_set, "--set", "batch_size=8")
    assert good.returncode == 0, good.stdout
    assert "48 images of 12 people" in good.stdout
    bad = cakd.run("doctor", "--data", "nowhere")
    assert bad.returncode == 1
    assert "problem nowhere" in bad.stdout
