"""A recogniser by its file, its run, its pack, or the name of a pack that insightface has on disk."""

import shutil

import pytest
import torch
from torch import nn

from insightface_cakd.errors import RunError
from insightface_cakd.networks import packs
from insightface_cakd.networks.packs import recogniser_file


def graph(path, side, outputs=1):
    """Write an .onnx that takes squares of `side` pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)

    class Network(nn.Module):
        def forward(self, images):
            answer = images.mean((2, 3))
            return answer if outputs == 1 else tuple(answer + i for i in range(outputs))

    torch.onnx.export(Network(), (torch.zeros(1, 3, side, side),), path, dynamo=False, opset_version=13)
    return path


@pytest.fixture
def pack(tmp_path):
    """A folder such as `buffalo_l`: recogniser, detector, landmarks, gender and age."""
    folder = tmp_path / "store" / "buffalo_x"
    graph(folder / "w600k_x.onnx", 112)
    graph(folder / "det.onnx", 640, outputs=9)
    graph(folder / "2d106det.onnx", 192)
    graph(folder / "genderage.onnx", 96)
    return folder


def test_files_and_runs_stay_what_they_are(tmp_path):
    assert recogniser_file(str(graph(tmp_path / "a.onnx", 112)), "--teacher") == tmp_path / "a.onnx"
    (tmp_path / "run").mkdir()
    assert recogniser_file(str(tmp_path / "run"), "--teacher") == tmp_path / "run"


def test_the_recogniser_of_a_pack_is_found_by_its_input(pack):
    assert recogniser_file(str(pack), "--teacher") == pack / "w600k_x.onnx"


def test_a_pack_is_found_by_its_name_where_insightface_keeps_it(pack, monkeypatch):
    monkeypatch.setattr(packs, "STORE", pack.parent)
    assert recogniser_file("buffalo_x", "--teacher") == pack / "w600k_x.onnx"


def test_a_damaged_model_of_a_pack_is_none(pack):
    (pack / "a_damaged.onnx").write_bytes(b"not a graph")
    (pack / "an_empty.onnx").touch()
    assert recogniser_file(str(pack), "--teacher") == pack / "w600k_x.onnx"


def test_a_pack_of_two_recognisers_or_none_is_refused(pack):
    shutil.copy(pack / "w600k_x.onnx", pack / "another.onnx")
    with pytest.raises(
        RunError, match=r"buffalo_x: recognisers of this pack: another.onnx, w600k_x.onnx; expected one"
    ):
        recogniser_file(str(pack), "--teacher")
    for name in ("another.onnx", "w600k_x.onnx"):
        (pack / name).unlink()
    with pytest.raises(RunError, match="recognisers of this pack: none; expected one"):
        recogniser_file(str(pack), "--teacher")


def test_a_pack_that_is_not_there_is_refused_with_those_that_are(pack, monkeypatch):
    monkeypatch.setattr(packs, "STORE", pack.parent)
    with pytest.raises(
        RunError, match=r"--teacher buffalo_l: no such file or folder, and no such pack in \S+ .there: buffalo_x.; exp"
    ):
        recogniser_file("buffalo_l", "--teacher")
