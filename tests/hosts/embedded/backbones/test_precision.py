"""Half precision: only when asked, only in the body, never in the embedding."""

import pytest
import torch
from torch import nn

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.backbones.precision import body_precision, in_dtype_of, tail_precision

TAIL = {"r18": "fc", "mbf": "conv_sep", "vit_t": "norm"}


def dtypes(network: nn.Module, path: str) -> list[torch.dtype]:
    """Dtypes of a submodule's input and output in one pass."""
    seen: list[torch.dtype] = []
    network.get_submodule(path).register_forward_hook(lambda module, x, y: seen.extend([x[0].dtype, y.dtype]))
    return seen


def test_without_fp16_no_context_is_opened():
    with body_precision(torch.zeros(1), fp16=False):
        assert not torch.is_autocast_enabled("cpu")


def test_the_tail_leaves_an_autocast_around_it():
    with torch.autocast("cpu", torch.bfloat16):
        with tail_precision(torch.zeros(1)):
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_enabled("cpu")


def test_activations_take_the_weights_precision():
    assert in_dtype_of(nn.Linear(2, 2).double(), torch.zeros(1, 2)).dtype == torch.float64


@pytest.mark.parametrize(("name", "path"), TAIL.items())
def test_the_embedding_is_float32_inside_a_callers_autocast(name, path):
    network = get_model(name, num_features=16).eval()
    seen = dtypes(network, path)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        embeddings = network(torch.randn(1, 3, 112, 112))
    assert embeddings.dtype == torch.float32
    assert seen == [torch.float32, torch.float32]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("name", "path"), TAIL.items())
def test_fp16_on_cuda_halves_the_body_only(name, path):
    body = {"r18": "layer1.0.conv1", "mbf": "layers.0.layers.0", "vit_t": "blocks.0.mlp.fc1"}[name]
    for fp16, expected in ((False, torch.float32), (True, torch.float16)):
        network = get_model(name, num_features=16, fp16=fp16).cuda().eval()
        in_body, in_tail = dtypes(network, body), dtypes(network, path)
        with torch.no_grad():
            network(torch.randn(2, 3, 112, 112, device="cuda"))
        assert in_body[1] == expected
        assert in_tail == [torch.float32, torch.float32]
