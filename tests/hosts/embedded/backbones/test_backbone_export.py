"""Both ONNX exporters give a model that takes any batch and computes what the network computes."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from insightface_cakd.hosts.embedded.backbones import get_model


def settled(name: str) -> nn.Module:
    """A network whose BatchNorms have seen a batch, so that its embeddings are of order one."""
    torch.manual_seed(0)
    network = get_model(name, num_features=64)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(4, 3, 112, 112))
    return network.eval()


def export(network: nn.Module, path: Path, dynamo: bool) -> None:
    common = {"input_names": ["data"], "output_names": ["embedding"], "dynamo": dynamo}
    if dynamo:
        common |= {"opset_version": 18, "dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},), "verbose": False}
    else:
        common |= {"opset_version": 13, "dynamic_axes": {"data": {0: "batch"}, "embedding": {0: "batch"}}}
    torch.onnx.export(network, (torch.randn(2, 3, 112, 112),), path, external_data=False, **common)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "dynamo"),
    [
        ("mbf", False),
        ("vit_t", False),
        ("swin_tiny", False),
        pytest.param("r18", False, marks=pytest.mark.slow),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in ("mbf", "r18", "vit_t", "swin_tiny")),
    ],
)
def test_the_exported_network_takes_any_batch(name, dynamo, tmp_path):
    network = settled(name)
    export(network, tmp_path / "network.onnx", dynamo)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        images = torch.randn(count, 3, 112, 112)
        with torch.no_grad():
            expected = network(images).numpy()
        (embeddings,) = session.run(["embedding"], {"data": images.numpy()})
        np.testing.assert_allclose(embeddings, expected, atol=1e-4, rtol=0)
