"""ONNX files made by code that names no dynamic axes: right at any batch size, in one file, at the opset asked for."""

import inspect
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.compat import applied
from insightface_cakd.hosts.compat.export import EXPORT_BATCH
from insightface_cakd.hosts.scripts import run_script


class Folding(nn.Module):
    """A net that flattens by its batch size, as the host's MobileFaceNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(4 * 14 * 14, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv(images)
        return self.linear(maps.view(maps.size(0), -1))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Folding().eval()


def as_torch2onnx_does(net: nn.Module, path: Path, **more) -> None:
    options = {"keep_initializers_as_inputs": False, "verbose": False, "opset_version": 11, **more}
    torch.onnx.export(net, torch.zeros(1, 3, 16, 16), str(path), input_names=["data"], **options)


def cosine(path: Path, net: nn.Module, images: torch.Tensor) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])
    with torch.no_grad():
        expected = net(images)
    assert got.shape == expected.shape
    return nn.functional.cosine_similarity(got, expected).min().item()


def test_any_batch_size_gives_the_nets_output(net, tmp_path: Path):
    with applied([EXPORT_BATCH]):
        as_torch2onnx_does(net, tmp_path / "net.onnx")
    for batch in (1, 2, 5):
        assert cosine(tmp_path / "net.onnx", net, torch.randn(batch, 3, 16, 16)) > 0.999999


def test_it_is_one_file_of_the_opset_asked_for_with_one_name_for_the_batch(net, tmp_path: Path):
    with applied([EXPORT_BATCH]):
        as_torch2onnx_does(net, tmp_path / "net.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
    model = onnx.load(str(tmp_path / "net.onnx"))
    assert [opset.version for opset in model.opset_import] == [11]
    (images,), (embedding,) = model.graph.input, model.graph.output
    assert (images.name, embedding.name) == ("data", "embedding")
    for value in (images, embedding):
        assert value.type.tensor_type.shape.dim[0].dim_param == "None"


def test_a_caller_that_says_what_is_free_gets_what_he_said(net, tmp_path: Path):
    with applied([EXPORT_BATCH]):
        as_torch2onnx_does(
            net, tmp_path / "net.onnx", dynamo=False, dynamic_axes={"data": {0: "n"}}, output_names=["out"]
        )
    assert onnx.load(str(tmp_path / "net.onnx")).graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


def test_export_is_torchs_own_afterwards_and_keeps_its_signature():
    original = torch.onnx.export
    with applied([EXPORT_BATCH]):
        assert inspect.signature(torch.onnx.export) == inspect.signature(original)
    assert torch.onnx.export is original


@pytest.mark.upstream
@pytest.mark.parametrize("network", ["r18", "mbf", "vit_t"])
def test_torch2onnx_makes_a_model_that_works_at_any_batch_size(arcface_torch: Path, tmp_path: Path, network: str):
    checkout = find_checkout(arcface_torch)
    with checkout.imported():
        torch.manual_seed(1)
        net = checkout.load("backbones").get_model(network, dropout=0.0, fp16=False, num_features=512).eval()
        torch.save(net.state_dict(), tmp_path / "model.pt")
        (tmp_path / "out").mkdir()
        path = tmp_path / "out" / "model.onnx"
        args = [str(tmp_path / "model.pt"), "--network", network, "--output", str(path)]
        assert run_script("torch2onnx.py", args, arcface_torch) == 0
        assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
        for batch in (1, 2, 7):
            images = torch.from_numpy(np.random.default_rng(batch).normal(size=(batch, 3, 112, 112))).float()
            assert cosine(path, net, images) > 0.99999
