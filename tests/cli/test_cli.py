"""The command line as a user meets it: help everywhere, one line and exit code 1 for a mistake."""

import subprocess
import sys

import pytest

COMMANDS = [
    [],
    ["quickstart"],
    ["train"],
    ["bench"],
    ["eval"],
    ["eval", "bin"],
    ["export"],
    ["data"],
    ["data", "pack"],
    ["data", "cache-teacher"],
    ["recipes"],
    ["recipes", "list"],
    ["doctor"],
]


def cakd(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "insightface_cakd", *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command):
    run = cakd(*command, "--help")
    assert run.returncode == 0, run.stderr
    assert "Usage:" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "faces_cnn"], "config faces_cnn: no such file"),
        (["train", "faces_cnn_tiny"], "config: rec is not set"),
        (["train", "faces_cnn_tiny", "--set", "rec=nowhere"], "nowhere: no such folder"),
        (["recipes", "show", "cosin"], "Did you mean 'cosine'?"),
        (["eval", "bin", "missing.onnx", "x.bin"], "missing.onnx: no such file"),
        (["export", "missing.pt", "out.onnx", "--network", "mbf"], "missing.pt: no such file"),
        (["data", "pack", "nowhere", "out"], "nowhere: no such folder"),
        (["data", "check", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_exit_code_1_and_leaves_nothing(arguments, message, tmp_path):
    run = cakd(*arguments, cwd=tmp_path)
    assert run.returncode == 1
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    assert lines[-1].startswith("cakd: error: ")
    assert message in lines[-1]
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())


def test_recipes_are_listed_shown_and_checked():
    listed = cakd("recipes", "list").stdout
    assert "cosine" in listed
    assert "loss: cosine" in cakd("recipes", "show", "cosine").stdout
    assert "kd: 1 x kd, reads the logits" in cakd("recipes", "check", "kd").stdout


def test_the_doctor_says_whether_a_run_would_start(face_set):
    good = cakd("doctor", "--config", "faces_cnn_tiny", "--data", face_set)
    assert good.returncode == 0, good.stdout
    assert "48 images of 12 people" in good.stdout
    bad = cakd("doctor", "--data", "nowhere")
    assert bad.returncode == 1
    assert "FAIL nowhere" in bad.stdout
