"""A teacher that cannot be trusted stops the run before step 1, in one line, whichever command needs it."""

import pickle
import re

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import cakd, contents, error_line, refused, train, write_recipe
from tests.data.record_files import insightface_set
from tests.networks.onnx_models import channel_means

NOWHERE = "0" * 64


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with the weights of an untrained teacher and of a student."""
    monkeypatch.chdir(tmp_path)
    for network in ("vit_tiny", "cnn_tiny"):
        torch.save(get_model(network, num_features=64).state_dict(), tmp_path / f"{network}.pt")
    channel_means(tmp_path / "means.onnx")
    write_recipe(tmp_path / "own.yaml")
    return tmp_path


def cut(path, share=0.5):
    """Keep the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def refused_as_teacher(data, weights, message, here):
    """A run and the command that writes a cache say the same."""
    run = train(data, "--distill", "own.yaml", "--teacher", weights)
    cache = ["data", "cache-teacher", "own.yaml", data, "cache", "--teacher", weights]
    assert refused(run, message, here) == refused(cache, message, here)


class Runs:
    """Unpickling this makes a folder."""

    def __reduce__(self):
        import os

        return os.mkdir, ("ran",)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (
            "missing.pt",
            lambda path: None,
            r"teacher weights missing\.pt: does not exist; expected a file\. .*--teacher",
        ),
        ("folder", lambda path: path.mkdir(), r"teacher cache folder: has no meta.json; expected a folder written by"),
        ("vit_tiny.pt", cut, r"teacher weights vit_tiny\.pt: cannot be read \(.*\); expected a state dict .*truncated"),
        ("vit_tiny.pt", lambda path: path.write_bytes(b""), r"teacher weights vit_tiny\.pt: cannot be read"),
        ("notes.pt", lambda path: path.write_text("hello"), r"teacher weights notes\.pt: cannot be read"),
        (
            "code.pt",
            lambda path: torch.save(Runs(), path),
            r"teacher weights code\.pt: cannot be read .*Python objects",
        ),
        ("old.pt", lambda path: path.write_bytes(pickle.dumps(Runs())), r"teacher weights old\.pt: cannot be read"),
        ("list.pt", lambda path: torch.save([1, 2], path), r"teacher weights list\.pt: holds a list; expected a state"),
        ("empty.pt", lambda path: torch.save({}, path), r"teacher weights empty\.pt: holds no keys; expected named"),
        (
            "cnn_tiny.pt",
            lambda path: None,
            r"teacher weights cnn_tiny\.pt: \d+ missing keys .*teacher\.network the right",
        ),
    ],
)
def test_weights_that_are_missing_damaged_or_another_networks(name, damage, message, here, face_set):
    damage(here / name)
    refused_as_teacher(face_set, name, message, here)


def test_no_weights_at_all_are_never_random_ones(here, face_set):
    message = r"teacher vit_tiny: teacher\.weights is not set; expected a file, a teacher never keeps random weights"
    refused(train(face_set, "--distill", "own.yaml"), message, here)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"sha256": NOWHERE}, rf"teacher weights vit_tiny\.pt: sha256 is [0-9a-f]{{64}}, expected {NOWHERE}\. "),
        ({"sha256": "abc"}, r"recipe own\.yaml: teacher\.sha256 is 'abc'; string should match pattern"),
        ({"embedding_size": 32}, r"teacher weights vit_tiny\.pt: .*(32|another shape)"),
        ({"network": "vit_tinny"}, r"teacher\.network vit_tinny: the host has no such network"),
        ({"network": "timm:resnet9000"}, r"network timm:resnet9000: timm .* has no such network; expected"),
        ({"network": "no_module:build"}, r"teacher\.network is 'no_module:build': cannot import no_module"),
        ({"network": "math:tau"}, r"teacher\.network math:tau: is a float; expected a callable"),
        ({"network": "torchscript"}, r"teacher weights vit_tiny\.pt: cannot be read .*torch\.jit\.save"),
        ({"network": "onnx"}, r"teacher weights vit_tiny\.pt: cannot be read .*expected an ONNX model"),
        ({"network": "cached"}, r"teacher cache vit_tiny\.pt: has no meta\.json; expected a folder written by"),
        ({"check": {"bin": "no.bin", "floor": 0.9}}, r"no\.bin: cannot be read \(No such file"),
        ({"check": {"bin": "dev.bin", "floor": 1.5}}, r"recipe own\.yaml: teacher\.check\.floor is 1\.5; "),
        (
            {"check": {"bin": "dev.bin", "flor": 0.5}},
            r"recipe own\.yaml: teacher\.check\.flor is not a key; known: bin, floor",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_recipe_whose_teacher_is_not_what_it_says(teacher, message, here, face_set):
    write_recipe(here / "own.yaml", **teacher)
    refused(train(face_set, "--distill", "own.yaml", "--teacher", "vit_tiny.pt"), message, here)


def test_a_teacher_below_its_floor(here, face_set):
    write_recipe(here / "own.yaml", check={"bin": "dev.bin", "floor": 0.99})
    message = r"teacher check: dev 0\.\d+ < expected 0\.99\. Wrong weights, colour order or input range"
    refused(train(face_set, "--distill", "own.yaml", "--teacher", "vit_tiny.pt"), message, here)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_truncated_onnx_teacher(share, here, face_set):
    write_recipe(here / "own.yaml", network="onnx")
    cut(here / "means.onnx", share)
    refused_as_teacher(face_set, "means.onnx", r"teacher weights means\.onnx: ", here)
    refused(["eval", "bin", "means.onnx", face_set / "dev.bin"], r"means\.onnx: ", here)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_torchscript_teacher(share, here, face_set):
    torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 112 * 112, 2))), "s.pt")
    write_recipe(here / "own.yaml", network="torchscript")
    cut(here / "s.pt", share)
    refused_as_teacher(face_set, "s.pt", r"teacher weights s\.pt: cannot be read .* truncated, damaged", here)


def test_a_cache_of_other_images_stops_the_first_batch_and_saves_nothing(here, face_set):
    write_recipe(here / "own.yaml", network="onnx")
    assert cakd("data", "cache-teacher", "own.yaml", face_set, "cache", "--teacher", "means.onnx").code == 0
    write_recipe(here / "own.yaml", {"loss": "rkd_distance", "weight": 1}, network="cached")
    other = insightface_set(here / "other", [6, 6])
    line = error_line(cakd(*train(other, "--distill", "own.yaml", "--teacher", "cache", val_targets=[])))
    assert re.match(r"teacher cache cache: 12 of 12 images of the batch are not among its 96; .* other data", line)
    assert not {"model.pt", "checkpoint_gpu_0.pt", "result.json", "run.json"} & set(contents(here / "out"))


@pytest.mark.parametrize("file", ["embeddings.f16", "keys.npy", "rows.npy", "meta.json"])
def test_a_cache_that_is_damaged(file, here, face_set):
    write_recipe(here / "onnx.yaml", network="onnx")
    written = cakd("data", "cache-teacher", "onnx.yaml", face_set, "cache", "--teacher", "means.onnx")
    assert written.code == 0, written.err
    write_recipe(here / "own.yaml", network="cached")
    cut(here / "cache" / file)
    refused(train(face_set, "--distill", "own.yaml", "--teacher", "cache"), r"teacher cache cache: is damaged \(", here)


def test_a_cache_folder_that_is_in_use_is_left_alone(here, face_set):
    write_recipe(here / "own.yaml", network="onnx")
    (here / "cache").mkdir()
    (here / "cache" / "mine.txt").write_text("mine")
    message = r"cache: exists already; expected a new or empty folder"
    refused(["data", "cache-teacher", "own.yaml", face_set, "cache", "--teacher", "means.onnx"], message, here)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vit_tiny.pt"], r"vit_tiny\.pt: which network these weights are of is not known; .*--network"),
        (["vit_tiny.pt", "--network", "cnn_tiny"], r"vit_tiny\.pt as cnn_tiny: \d+ missing keys"),
        (["vit_tiny.pt", "--network", "vit_tinny"], r"network: 'vit_tinny' is not a known network; .*'vit_tiny'"),
        (["gone.pt", "--network", "vit_tiny"], r"gone\.pt: does not exist"),
        (["cut.pt", "--network", "vit_tiny"], r"cut\.pt: cannot be read"),
    ],
)
def test_weights_that_cannot_be_measured_or_exported(arguments, message, here, face_set):
    (here / "cut.pt").write_bytes((here / "vit_tiny.pt").read_bytes()[:2000])
    refused(["eval", "bin", arguments[0], face_set / "dev.bin", *arguments[1:]], message, here)
    refused(["export", arguments[0], "out.onnx", *arguments[1:]], message, here)
