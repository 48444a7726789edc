"""A network prepared for inference gives the same embeddings, and is the network no longer."""

import pytest
import torch
from torch import nn

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.inference import for_inference
from tests.export.networks import settle


def norms(network):
    return sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())


@pytest.mark.parametrize(("name", "left"), [("mbf", 0), ("cnn_tiny", 0), ("r18", None)])
def test_embeddings_are_equal_to_rounding(name, left):
    torch.manual_seed(0)
    network = settle(get_model(name, num_features=32)).eval()
    images = torch.rand(2, 3, 112, 112) * 2 - 1
    prepared = for_inference(network)
    with torch.inference_mode():
        expected, found = network(images), prepared(images)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    if left is not None:
        assert norms(prepared) == left


def test_the_network_itself_stays_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for_inference(network)
    assert norms(network) == 1
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_batch_norm_that_follows_something_else_stays():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.PReLU(4), nn.BatchNorm2d(4)).eval()
    assert norms(for_inference(network)) == 1
