"""PReLU of the embedded host's networks: torch's answers and gradients, in less time."""

import pytest
import torch
from torch import nn

from insightface_cakd.hosts.embedded.backbones import NETWORKS, get_model
from insightface_cakd.hosts.embedded.backbones.prelu import PReLU


def maps(dtype=torch.float32, channels=5):
    drawn = torch.randn(3, channels, 6, 4, generator=torch.Generator().manual_seed(0))
    drawn[0, 0, 0] = torch.tensor([0.0, -0.0, float("inf"), 1e-40])
    return drawn.to(dtype).to(memory_format=torch.channels_last)


def answer_and_gradients(kind, images):
    """Return a layer's output, the gradient to its input and to its slopes, which have either sign."""
    layer = kind(images.shape[1]).train()
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-0.2, 0.5, images.shape[1]))
    layer.to(images.dtype)
    given = images.clone(memory_format=torch.preserve_format).requires_grad_()
    answer = layer(given)
    answer.backward(torch.linspace(-1, 1, answer.numel()).view_as(answer).to(answer.dtype))
    return answer.detach(), given.grad, layer.weight.grad


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float64, 1e-13)], ids=str
)
def test_answers_and_gradients_are_torchs(dtype, tolerance):
    ours, to_ours, slopes = answer_and_gradients(PReLU, maps(dtype))
    theirs, to_theirs, expected = answer_and_gradients(nn.PReLU, maps(dtype))
    assert torch.equal(ours, theirs)
    assert torch.equal(to_ours, to_theirs)
    finite = expected.isfinite()
    torch.testing.assert_close(slopes[finite], expected[finite], rtol=tolerance, atol=min(1e-6, tolerance))
    assert to_ours.is_contiguous(memory_format=torch.channels_last)


def test_gradients_are_those_of_differences():
    layer = PReLU(3).double().train()
    drawn = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    given = drawn.to(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradcheck(lambda images, _: layer(images), (given, layer.weight))


@pytest.mark.parametrize("shape", [(4, 5), (2, 5, 3, 3)])
def test_other_layouts_take_torchs_kernel(shape):
    layer, rows = PReLU(5).train(), torch.randn(shape)
    assert torch.equal(layer(rows), torch.prelu(rows, layer.weight))


def test_every_prelu_of_our_networks_is_this_one():
    found = set()
    for name in NETWORKS:
        with torch.device("meta"):
            network = get_model(name)
        found |= {(name, type(module)) for module in network.modules() if isinstance(module, nn.PReLU)}
    assert {kind for _, kind in found} == {PReLU}
    assert {name for name, _ in found} >= {"cnn_tiny", "mbf", "r18"}
