"""`cakd eval ijb` a second time into the same folder, after the first one or at the same time."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.commands import cakd, contents, refused
from tests.evaluate.ijb.trees import Projection, write_onnx, write_tree
from tests.hosts.jobs import ROOT


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tree, two models and saved embeddings of two other ones; not to be written to."""
    folder = tmp_path_factory.mktemp("twice")
    write_tree(folder)
    for name, width in (("one", 32), ("other", 16)):
        write_onnx(folder / f"{name}.onnx", Projection(width))
        np.save(folder / f"{name}.npy", np.random.default_rng(width).normal(size=(48, width)).astype(np.float32))
    return folder


def command(place, model, out, *more):
    return ["eval", "ijb", place / model, "--root", place, "--output", out, "--device", "cpu", *more]


def test_the_same_question_again_uses_what_is_there(place, tmp_path):
    first, second = (cakd(*command(place, "one.onnx", tmp_path / "out")) for _ in range(2))
    assert (first.code, second.code) == (0, 0), second.err
    assert first.out == second.out


@pytest.mark.parametrize("model", ["one.npy", "other.npy"])
def test_another_question_replaces_every_file_of_the_first(model, place, tmp_path):
    """Files of modes that are not asked for any more would be of the first model."""
    assert cakd(*command(place, "one.npy", tmp_path / "out", "--mode", "N1D1F0,N0D0F0,N0D1F0")).code == 0
    (tmp_path / "out" / "mine.txt").write_text("stays")
    for out in ("out", "alone"):
        ran = cakd(*command(place, model, tmp_path / out, "--mode", "N1D0F0", "--protocol", "11"))
        assert ran.code == 0, ran.err
    alone = {name: digest for name, digest in contents(tmp_path / "alone").items() if name != "roc_N1D0F0.npz"}
    again = contents(tmp_path / "out")
    assert {name for name in again if name != "mine.txt"} == {*alone, "roc_N1D0F0.npz"}
    assert all(again[name] == digest for name, digest in alone.items())
    assert (tmp_path / "out" / "mine.txt").read_text() == "stays"


def test_another_model_is_refused_in_one_line(place, tmp_path):
    assert cakd(*command(place, "one.onnx", tmp_path / "out")).code == 0
    refused(
        command(place, "other.onnx", tmp_path / "out"),
        ".*embeddings: embeddings of one.onnx, .*choose another",
        tmp_path,
    )


def test_a_report_that_cannot_be_written_leaves_the_earlier_one(place, tmp_path, monkeypatch):
    assert cakd(*command(place, "one.npy", tmp_path / "out", "--mode", "N1D1F0")).code == 0

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    refused(
        command(place, "other.npy", tmp_path / "out", "--mode", "N1D1F0"),
        r".*out: cannot be written \(No space left on device\); .*what was saved before is untouched",
        tmp_path,
    )


@pytest.mark.slow
def test_a_second_one_at_the_same_time_is_refused_and_the_first_ends_well(place, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = list(map(str, command(place, "one.onnx", tmp_path / "out")))
    first = subprocess.Popen(
        [sys.executable, "-m", "insightface_cakd", *arguments], env=environment, stdout=subprocess.DEVNULL
    )
    lock = tmp_path / "out" / ".lock"
    while not lock.exists():
        assert first.poll() is None
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)
    ran = cakd(*arguments)
    first.send_signal(signal.SIGCONT)
    assert ran.code == 1
    assert f"out: another run writes it (process {first.pid} on " in ran.err
    assert ran.err.count("\n") == 1
    assert first.wait(240) == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["modes"]
    assert not lock.exists()
