"""Models as the user names them: run folders, names, and what is refused before the first face is embedded."""

import json
from unittest import mock

import numpy as np
import pytest
import torch

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.evaluate import Question
from insightface_cakd.evaluate.ijb.subjects import find_subject
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.entries import title
from tests.commands import cakd, refused
from tests.evaluate.ijb.trees import Projection, write_onnx, write_tree

IMAGES = 48


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("ijb"))


def write_run(folder, seed=0, network="cnn_tiny", width=64):
    """Write what `cakd train` leaves, as far as it matters here."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    torch.save(get_model("cnn_tiny", num_features=width).state_dict(), folder / "model.pt")
    (folder / "run.json").write_text(json.dumps({"config": {"network": network} if network else {}}))
    return folder


def write_weights(path, width=64):
    torch.save(get_model("cnn_tiny", num_features=width).state_dict(), path)
    return path


@pytest.fixture
def no_face():
    """Fail where a face is read."""
    with mock.patch("insightface_cakd.evaluate.ijb.crops.read_face", side_effect=AssertionError("a face was read")):
        yield


def test_a_runs_folder_and_the_weights_in_it_are_one_model(root, tmp_path):
    run = write_run(tmp_path / "r50.v2")
    for model, out in ((run, "a"), (run / "model.pt", "b")):
        ran = cakd("eval", "ijb", model, "--root", root, "--out", tmp_path / out)
        assert ran.code == 0, ran.err
        assert ran.out.startswith("# IJBC: r50.v2\n")
    assert (tmp_path / "a" / "report.md").read_text() == (tmp_path / "b" / "report.md").read_text()
    assert json.loads((tmp_path / "a" / "embeddings" / "meta.json").read_text())["network"] == "cnn_tiny"


def test_two_runs_have_two_names_alone_and_mixed(root, tmp_path):
    old, new = (write_run(tmp_path / name, seed) for seed, name in enumerate(("old", "new")))
    folders = [Question(run / file, root).folder.name for run in (old, new) for file in ("", "model.pt")]
    assert folders == ["old_IJBC_eval_ijbc"] * 2 + ["new_IJBC_eval_ijbc"] * 2
    ran = cakd(
        "eval",
        "ijb",
        new / "model.pt",
        "--enrolled",
        old,
        "--root",
        root,
        "--out",
        tmp_path / "out",
        "--protocol",
        "11",
    )
    assert ran.code == 0, ran.err
    assert "| gallery old, probe new, N1D1F1 |" in ran.out


@pytest.mark.parametrize(
    ("path", "name"),
    [("runs/a/model.pt", "a"), ("runs/a.onnx", "a"), ("runs/b.pt", "b"), ("e.npz", "e"), ("runs/../c/model.pt", "c")],
)
def test_names(tmp_path, monkeypatch, path, name):
    (tmp_path / "runs").mkdir()
    assert title(tmp_path / path) == name
    monkeypatch.chdir(tmp_path / "runs")
    assert title(tmp_path / "runs") == title(type(tmp_path)(".")) == title(type(tmp_path)("model.pt")) == "runs"


def test_a_run_names_its_own_network_whatever_is_given_for_others(tmp_path):
    run = write_run(tmp_path / "run")
    assert find_subject(run, None, "--network").network == "cnn_tiny"
    assert find_subject(run, "mbf", "--network").network == "cnn_tiny"


@pytest.mark.parametrize("option", ["MODEL", "--enrolled"])
def test_another_folder_is_refused_without_advice_to_remove_it(root, tmp_path, option, no_face):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.pt").write_bytes(b"precious")
    good = write_run(tmp_path / "good")
    named = [tmp_path / "other"] if option == "MODEL" else [good, "--enrolled", tmp_path / "other"]
    message = r".*other: a folder without meta.json or run.json; expected an .onnx, weights, the output folder of a"
    line = refused(["eval", "ijb", *named, "--root", root, "--out", tmp_path / "out"], message, tmp_path)
    assert "Remove" not in line


def test_a_run_is_no_place_for_embeddings(root, tmp_path, no_face):
    run = write_run(tmp_path / "run")
    command = ["eval", "ijb", run, "--root", root, "--out", tmp_path / "out", "--embeddings", run]
    line = refused(command, r".*run: holds no meta.json; expected embeddings saved by `cakd eval ijb`, or", tmp_path)
    assert "Remove" not in line


def test_a_run_without_weights_or_network(root, tmp_path):
    run = write_run(tmp_path / "run", network=None)
    with pytest.raises(EvaluationError, match=r"model.pt: which network .* Pass --network, for example --network mbf"):
        find_subject(run, None, "--network")
    (run / "model.pt").unlink()
    with pytest.raises(EvaluationError, match=r"run: a folder without model.pt; expected the output of a finished"):
        find_subject(run, None, "--network")


@pytest.mark.parametrize(
    ("enrolled", "more", "message"),
    [
        ("none.onnx", [], ".*none.onnx: does not exist"),
        ("weights.pt", [], ".*weights.pt: which network .* Pass --enrolled-network, for example --enrolled-network"),
        ("weights.pt", ["--enrolled-network", "cnn_tinny"], ".*cnn_tinny"),
        ("weights.pt", ["--enrolled-network", "mbf"], ".*Is --enrolled-network mbf the right one"),
        (
            "wide.pt",
            ["--enrolled-network", "cnn_tiny"],
            ".*wide gives 128 numbers a face, new 64; expected equal widths",
        ),
        ("narrow.npz", [], ".*narrow gives 8 numbers a face, new 64; expected equal widths"),
        ("onnx.onnx", [], ".*onnx gives 32 numbers a face, new 64; expected equal widths"),
        ("other/new", [], ".*both models are named new; expected two names"),
        (None, ["--enrolled-network", "mbf"], "--enrolled-network mbf: there is no --enrolled; expected both or none"),
    ],
)
def test_both_models_are_checked_before_a_face_is_embedded(root, tmp_path, no_face, enrolled, more, message):
    new = write_run(tmp_path / "new")
    write_run(tmp_path / "other" / "new")
    write_weights(tmp_path / "weights.pt")
    write_weights(tmp_path / "wide.pt", 128)
    write_onnx(tmp_path / "onnx.onnx", Projection())
    rows = np.random.default_rng(0).standard_normal((IMAGES, 8)).astype(np.float32)
    np.savez(tmp_path / "narrow.npz", embs=rows, embs_f=rows)
    named = ["--enrolled", tmp_path / enrolled] if enrolled else []
    refused(["eval", "ijb", new, *named, "--root", root, "--out", tmp_path / "out", *more], message, tmp_path)


def test_enrolled_embeddings_of_something_else_are_told_before_a_face_is_embedded(root, tmp_path, no_face):
    new, old = write_run(tmp_path / "new"), write_run(tmp_path / "old", 1)
    for folder, message in (
        ("embeddings_enrolled", "embeddings of None, their model_sha256 is bbbbbbbbbbbbbbbb"),
        ("embeddings_enrolled.partial", "holds a stopped job whose model_sha256 is 'b+'; expected"),
    ):
        out = tmp_path / folder
        (out / folder).mkdir(parents=True)
        np.save(out / folder / "plain.npy", np.zeros((IMAGES, 64), np.float32))
        np.save(out / folder / "mirrored.npy", np.zeros((IMAGES, 64), np.float32))
        for name in ("meta.json", "origin.json"):
            (out / folder / name).write_text(json.dumps({"model_sha256": "b" * 64, "count": IMAGES}))
        command = ["eval", "ijb", new, "--enrolled", old, "--root", root, "--out", out]
        refused(command, rf".*{folder}: {message}", tmp_path)


@pytest.mark.parametrize("out", ["file", "file/x", "file/x/y"])
def test_a_file_where_the_report_is_to_go(root, tmp_path, no_face, out):
    (tmp_path / "file").write_text("kept")
    write_run(tmp_path / "run")
    message = (
        rf".*{out}: cannot be written, .*file is no folder; expected a folder, or a place for one. Choose another --out"
    )
    refused(["eval", "ijb", tmp_path / "run", "--root", root, "--out", tmp_path / out], message, tmp_path)


def test_a_model_that_fails_leaves_no_empty_folder(root, tmp_path):
    class Bad(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :8] / 0

    path = write_onnx(tmp_path / "bad.onnx", Bad())
    command = ["eval", "ijb", path, "--root", root, "--out", tmp_path / "a" / "b"]
    refused(command, "model: 8 of 8 embeddings are not finite", tmp_path)
