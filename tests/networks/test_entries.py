"""What is named on the command line becomes a model: runs, files, names, networks."""

import json

import pytest
import torch

from insightface_cakd.errors import EvaluationError, RunError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.entries import Entry, parameters, read_entries, run_entry
from tests.networks.onnx_models import channel_means

CPU = torch.device("cpu")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "kd"
    run.mkdir()
    torch.save(get_model("cnn_tiny", num_features=32).state_dict(), run / "model.pt")
    (run / "run.json").write_text(json.dumps({"config": {"network": "cnn_tiny"}}))
    (tmp_path / "bare.pt").write_bytes((run / "model.pt").read_bytes())
    channel_means(tmp_path / "means.onnx")
    return tmp_path


def said(entry):
    return entry.name, str(entry.path), entry.network


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kd", ("kd", "kd/model.pt", "cnn_tiny")),
        ("kd/model.pt", ("kd", "kd/model.pt", "cnn_tiny")),
        ("my student=kd", ("my student", "kd/model.pt", "cnn_tiny")),
        ("means.onnx", ("means", "means.onnx", None)),
        ("m=means.onnx", ("m", "means.onnx", None)),
        ("bare.pt", ("bare", "bare.pt", "mbf")),
        ("bare.pt::vit_tiny", ("bare", "bare.pt", "vit_tiny")),
        ("b=bare.pt::timm:vit_tiny_patch16_224", ("b", "bare.pt", "timm:vit_tiny_patch16_224")),
    ],
)
def test_names_paths_and_networks(text, expected, here):
    (entry,) = read_entries([text], "mbf" if "bare" in text else None)
    assert said(entry) == expected


@pytest.mark.parametrize("text", ["kd", "kd/model.pt", "kd::cnn_tiny", "m=kd/model.pt::cnn_tiny"])
def test_the_general_network_is_for_weights_that_name_none(text, here):
    assert read_entries([text], "mbf")[0].network == "cnn_tiny"
    assert read_entries(["means.onnx"], "mbf")[0].network is None
    (here / "kd" / "run.json").unlink()
    assert read_entries([text.partition("::")[0]], "mbf")[0].network == "mbf"


def test_a_path_with_an_equals_sign_is_a_path(here):
    (here / "lr=0.1").mkdir()
    (here / "lr=0.1" / "model.pt").write_bytes(b"")
    (entry,) = read_entries(["lr=0.1"])
    assert entry.name == "lr=0.1"


def test_a_run_is_loaded_and_weighed(here):
    entry = run_entry("student", here / "kd")
    embed = entry.load(get_model, CPU)
    assert embed(torch.zeros(2, 3, 112, 112)).shape == (2, 32)
    assert parameters(entry, embed) == sum(one.numel() for one in embed.parameters())
    assert entry.megabytes == (here / "kd" / "model.pt").stat().st_size / 1e6
    assert (entry.runtime, Entry("m", here / "means.onnx").runtime) == ("torch", "onnxruntime")
    onnx = Entry("m", here / "means.onnx")
    assert parameters(onnx, onnx.load(get_model, CPU)) == 0


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["nowhere.pt"], r"nowhere\.pt: does not exist; expected an \.onnx, weights, or the output folder of a run"),
        (["kd", "kd/model.pt"], r"kd/model\.pt: another model is called kd; expected different names\. Write NAME="),
        (["empty"], r"empty: a folder without model\.pt; expected the output of a finished"),
        (
            ["kd::mbf"],
            r"kd::mbf: the network mbf, but kd/run\.json says cnn_tiny; expected the same\. Leave ::mbf off, or",
        ),
        (
            ["m=kd/model.pt::mbf"],
            r"m=kd/model\.pt::mbf: the network mbf, but kd/run\.json says cnn_tiny; expected the same",
        ),
        (["means.onnx::mbf"], r"means\.onnx::mbf: an \.onnx with the network mbf; expected none, .* Leave ::mbf off\."),
        (["a=means.onnx", "a=kd"], r"a=kd: another model is called a; expected different names"),
    ],
)
def test_models_that_are_none(texts, message, here):
    (here / "empty").mkdir()
    with pytest.raises(EvaluationError, match=message):
        read_entries(texts)


def test_a_damaged_run(here):
    (here / "kd" / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json: not JSON .* expected what `cakd train` wrote"):
        read_entries(["kd"])
    (here / "kd" / "run.json").write_text('{"config": [1]}')
    with pytest.raises(RunError, match=r"run\.json: config: input should be a valid dictionary"):
        read_entries(["kd"])


def test_a_run_that_names_no_network(here):
    (here / "kd" / "run.json").write_text("{}")
    (entry,) = read_entries(["kd"])
    with pytest.raises(EvaluationError, match=r"which network these weights are of is not known"):
        entry.load(get_model, CPU)
