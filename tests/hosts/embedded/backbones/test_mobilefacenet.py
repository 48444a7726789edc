"""mbf and mbf_large: what the published weights need of the architecture."""

import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.backbones.mobilefacenet import GDC, DepthWise, Residual


def test_mbf_has_a_grouped_convolution_where_the_paper_has_a_depthwise_one():
    convolution = get_model("mbf").layers[1].layers[0]
    assert (convolution.in_channels, convolution.groups) == (128, 64)


def test_mbf_large_has_two_bottlenecks_there_instead():
    stage = get_model("mbf_large").layers[1]
    assert isinstance(stage, Residual)
    assert len(stage.layers) == 2


def test_a_residual_bottleneck_with_a_silent_branch_is_the_identity():
    block = DepthWise(8, 8, hidden=16, residual=True)
    torch.nn.init.zeros_(block.layers[2].layers[1].weight)
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(block(x), x)


def test_a_bottleneck_without_residual_ends_linear():
    """A PReLU or a ReLU would show as a bound or a kink; BatchNorm output is symmetric about its bias."""
    block = DepthWise(8, 4, hidden=16, stride=2)
    out = block(torch.randn(64, 8, 6, 6))
    assert out.shape == (64, 4, 3, 3)
    torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)


def test_the_embedding_weighs_every_channel_at_every_place():
    """With neutral BatchNorms the depthwise 7 x 7 stage is sum over places of weight * value, by hand."""
    head = GDC(4).eval()
    x = torch.randn(2, 512, 7, 7)
    weight = head.layers[0].layers[0].weight[:, 0]
    pooled = (x * weight).sum(dim=(2, 3)) / (1 + 1e-5) ** 0.5
    expected = pooled @ head.layers[2].weight.T / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(head(x), expected, rtol=1e-4, atol=1e-4)
    assert head.layers[2].bias is None


def test_mbf_small_is_as_wide_as_the_paper_and_has_fewer_blocks():
    network = get_model("mbf_small")
    assert sum(weight.numel() for weight in network.parameters()) == 815_488
    assert [network.layers[place].layers[-1].layers[0].out_channels for place in (2, 4, 6)] == [64, 128, 128]
    assert [len(network.layers[place].layers) for place in (3, 5, 7)] == [2, 2, 1]
