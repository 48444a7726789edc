"""A command run a second time into the same place: its results replace the earlier ones whole, or it refuses in one line."""

import json

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from tests.cli.evaluation_files import write_evaluation_files
from tests.commands import cakd, contents, refused, write_recipe


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a set, two recognisers of three numbers, and people."""
    monkeypatch.chdir(tmp_path)
    write_evaluation_files(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["bin", "old.onnx", "sets"], ["bin", "old.onnx", "sets/a.bin"]),
        (["identify", "old.onnx", "people", "others"], ["bin", "new.onnx", "sets/b.bin"]),
        (["mixed", "old.onnx", "new.onnx", "sets"], ["mixed", "old.onnx", "new.onnx", "sets/a.bin"]),
    ],
    ids=["bin", "another protocol", "mixed"],
)
def test_numbers_and_page_of_an_evaluation_are_those_of_the_last(first, second, here):
    last = here / "last"
    for command in (first, second):
        ran = cakd("eval", *command, "--device", "cpu", "--json", "out/n.json", "--report", "out/page.html")
        assert ran.code == 0, ran.err
    assert cakd("eval", *second, "--device", "cpu", "--json", last / "n.json", "--report", last / "page.html").code == 0
    assert json.loads((here / "out" / "n.json").read_text()) == json.loads((last / "n.json").read_text())
    assert set(contents(here / "out")) == {"n.json", "page.html"}


def test_a_comparison_of_models_is_that_of_the_last(here):
    for sets in ("sets", "sets/a.bin"):
        ran = cakd("eval", "models", "old.onnx", "new.onnx", "--sets", sets, "--output", "out")
        assert ran.code == 0, ran.err
    assert set(contents(here / "out")) == {"compare.html", "compare.md", "compare.json"}
    text = (here / "out" / "compare.md").read_text()
    assert "| a " in text
    assert "| b " not in text


def test_folders_that_were_written_are_not_written_again(face_set, here):
    torch.save(get_model("vit_tiny", num_features=64).state_dict(), here / "t.pt")
    recipe = write_recipe(here / "r.yaml", weights=str(here / "t.pt"))
    for out, command in (
        ("packed", ["pack", "people"]),
        ("unpacked", ["unpack", face_set]),
        ("cache", ["cache-teacher", recipe, face_set]),
        ("prototypes", ["prototypes", recipe, face_set]),
    ):
        ran = cakd("data", *command, out)
        assert ran.code == 0, ran.err
        refused(["data", *command, out], f"(cache .*)?{out}: exists already; expected a new or empty folder", here)


def test_a_quickstart_keeps_out_of_a_used_folder(here):
    (here / "used").mkdir()
    (here / "used" / "mine").touch()
    refused(["quickstart", "--output", "used"], "used: exists already; expected a new or empty folder", here)


def test_an_export_replaces_the_file(here):
    torch.save(get_model("cnn_tiny", num_features=32).state_dict(), here / "one.pt")
    torch.manual_seed(9)
    torch.save(get_model("cnn_tiny", num_features=32).state_dict(), here / "two.pt")
    written = []
    for name in ("one", "two", "two"):
        ran = cakd("export", f"{name}.pt", "out.onnx", "--network", "cnn_tiny")
        assert ran.code == 0, ran.err
        written.append((here / "out.onnx").read_bytes())
    assert written[0] != written[1] == written[2]
