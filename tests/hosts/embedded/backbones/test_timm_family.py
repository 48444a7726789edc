"""Networks of timm as backbones of the embedded host."""

import pytest
import torch

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import get_model


def test_a_network_of_timm_gets_the_head_of_a_face_recogniser():
    network = get_model("timm:vit_tiny_patch16_224", num_features=48, fp16=False, dropout=0.0)
    assert network.feature[0].weight.shape == (48, 50 * 192)
    assert isinstance(network.feature[1], torch.nn.BatchNorm1d)
    assert network(torch.zeros(2, 3, 112, 112)).shape == (2, 48)
    assert list(network.state_dict())[-5:] == [f"feature.1.{key}" for key in network.feature[1].state_dict()]
    assert network.training


def test_a_swin_of_timm_takes_faces_in_patches_of_2():
    with torch.random.fork_rng(devices=[]):
        network = get_model("timm:swin_tiny_patch4_window7_224", num_features=64).eval()
    shapes = []
    for stage in network.body.layers:
        stage.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 112, 112)).shape == (1, 64)
    assert shapes == [(56, 56, 96), (28, 28, 192), (14, 14, 384), (7, 7, 768)]


def test_the_head_computes_in_float32_under_an_autocast():
    network = get_model("swin_tiny", num_features=32).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert network(torch.zeros(1, 3, 112, 112)).dtype == torch.float32


def test_building_leaves_nothing_to_chance_but_the_seed():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(get_model("swin_tiny", num_features=32).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timm:vit_tiny_patch16", r"timm .* has no such network; .*Did you mean 'vit_tiny_patch16_"),
        ("timm:twins_pcpvt_small", r"cannot be built for 112x112 images \(.*\). Choose another network."),
        ("tim:vit_tiny", r"is not a known network; known: r18, .*, swin_tiny, .*, timm:NAME"),
    ],
)
def test_a_name_that_cannot_be_built_is_one_line(name, text):
    with pytest.raises(RunError, match=text) as caught:
        get_model(name)
    assert "\n" not in str(caught.value)


def test_dropout_is_refused():
    with pytest.raises(RunError, match=r"dropout is 0.4, but this network has no dropout layer"):
        get_model("timm:vit_tiny_patch16_224", dropout=0.4)
