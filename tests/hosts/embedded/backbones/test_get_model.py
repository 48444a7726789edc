"""Networks by name: sizes, tap points, options, and what every family does in train and eval mode."""

import pytest
import torch

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.backbones import NETWORKS, get_model
from tests.hosts.embedded.backbones.facts import LAST_WEIGHT, SIZES, TAPS

FAMILIES = ("r18", "mbf", "vit_t")
OWN = ("cnn_tiny", "cnn_small", "mbf_small", "vit_tiny", "swin_tiny")
PERIOCULAR = ("ckd", "ckd_face", "ckd_tiny", "ckd_tiny_face")


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(count)) * 2 - 1


def test_every_name_of_arcface_torch_our_own_and_ckds_are_known():
    assert set(NETWORKS) == {*SIZES, *OWN, *PERIOCULAR}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_arcface_torchs(name):
    with torch.device("meta"):
        network = get_model(name)
    assert sum(weight.numel() for weight in network.parameters()) == SIZES[name].parameters
    assert len(network.state_dict()) == SIZES[name].state_keys


@pytest.mark.parametrize(("name", "key"), LAST_WEIGHT.items())
def test_num_features_is_the_length_of_the_last_weight(name, key):
    with torch.device("meta"):
        network = get_model(name, num_features=96)
    assert network.state_dict()[key].shape == (96,)


@pytest.mark.parametrize("name", TAPS)
def test_tap_points_have_their_documented_shapes(name):
    network, seen = get_model(name).eval(), {}
    for path in TAPS[name]:
        network.get_submodule(path).register_forward_hook(
            lambda module, inputs, output, path=path: seen.update({path: tuple(output.shape[1:])})
        )
    with torch.no_grad():
        network(images(1))
    assert seen == TAPS[name]


@pytest.mark.parametrize("name", [*FAMILIES, *OWN])
def test_every_trainable_weight_gets_a_finite_gradient(name):
    torch.manual_seed(0)
    network = get_model(name, num_features=32, fp16=False, dropout=0.0)
    embeddings = network(images(2))
    assert embeddings.shape == (2, 32)
    assert embeddings.dtype == torch.float32
    (embeddings * torch.randn(2, 32)).sum().backward()
    silent = [key for key, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
    assert silent == []
    assert all(weight.grad.isfinite().all() for weight in network.parameters() if weight.requires_grad)


@pytest.mark.parametrize("name", [*FAMILIES, *OWN])
def test_an_embedding_in_eval_mode_does_not_depend_on_the_batch_around_it(name):
    torch.manual_seed(0)
    network = get_model(name, num_features=32)
    batch = images(3)
    with torch.no_grad():
        network(batch)  # gives the BatchNorms statistics of their own
        network.eval()
        together, alone = network(batch), network(batch[1:2])
    assert torch.allclose(alone, together[1:2], rtol=1e-4, atol=1e-5 * together.abs().max().item())


@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_is_left_alone_where_there_is_no_cuda(name):
    torch.manual_seed(0)
    full, half = get_model(name, num_features=32).eval(), get_model(name, num_features=32, fp16=True).eval()
    half.load_state_dict(full.state_dict())
    with torch.no_grad():
        assert torch.equal(full(images(1)), half(images(1)))


@pytest.mark.parametrize(("name", "nearest"), [("r51", "r50"), ("vit_t_dp005_mask_0", "vit_t_dp005_mask0")])
def test_an_unknown_name_lists_the_known_ones_and_the_nearest(name, nearest):
    with pytest.raises(RunError, match=rf"network: '{name}' is not .*; known: r18, r34.*Did you mean '{nearest}'\?"):
        get_model(name)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_feature": 64}, r"num_feature is not an option; known: .*Did you mean 'num_features'\?"),
        ({"num_features": 0}, r"num_features is 0; expected a whole number of at least 1"),
        ({"num_features": "512"}, r"num_features is '512'; expected a whole number"),
        ({"dropout": 1.0}, r"dropout is 1\.0; expected a number from 0 up to, not including, 1"),
        ({"dropout": 0.4}, r"dropout is 0\.4, but this network has no dropout layer"),
        ({"fp16": "yes"}, r"fp16 is 'yes'; expected True or False"),
    ],
)
def test_an_option_that_cannot_be_meant_stops_the_run(options, text):
    with pytest.raises(RunError, match=f"network mbf: {text}"):
        get_model("mbf", **options)
