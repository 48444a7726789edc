"""Against a checkout of arcface_torch: the same state, interchangeable both ways, and the same embeddings."""

import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.weights import SchedulesOnCpu
from tests.hosts.embedded.backbones.facts import SIZES
from tests.rounding import assert_equal_up_to_rounding

pytestmark = [pytest.mark.upstream, pytest.mark.filterwarnings("ignore")]

SLOW = pytest.mark.slow
RUN = [
    "r18",
    "mbf",
    "vit_t",
    "vit_t_dp005_mask0",
    *(
        pytest.param(name, marks=SLOW)
        for name in ("r34", "r50", "r100", "mbf_large", "vit_s", "vit_s_dp005_mask_0", "vit_b", "vit_b_dp005_mask_005")
    ),
]
ALIAS = "arcface_torch_backbones"


@pytest.fixture(scope="module")
def theirs(arcface_torch: Path) -> Iterator[Callable[..., nn.Module]]:
    """arcface_torch's `get_model`, imported under a name of our own, without a path entry or bytecode left behind."""
    folder, wrote = arcface_torch / "backbones", sys.dont_write_bytecode
    known = set(sys.modules)
    spec = importlib.util.spec_from_file_location(
        ALIAS, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.dont_write_bytecode = True
    sys.modules[ALIAS] = package = importlib.util.module_from_spec(spec)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spec.loader.exec_module(package)
            yield package.get_model
    finally:
        sys.dont_write_bytecode = wrote
        for name in [name for name in sys.modules if name.partition(".")[0] == ALIAS and name not in known]:
            del sys.modules[name]


@pytest.fixture
def double(monkeypatch) -> Callable[[nn.Module], nn.Module]:
    """Turn a network to float64; theirs casts to float32 before its last layers, which is switched off meanwhile."""

    def convert(network: nn.Module) -> nn.Module:
        monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
        return network.double()

    return convert


def lived_in(network: nn.Module) -> nn.Module:
    """Give every weight and every BatchNorm statistic a value that an untrained network does not have."""
    torch.manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.2)
            if isinstance(module, nn.PReLU):
                module.weight.uniform_(-0.1, 0.5)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.normal_(std=0.1)
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = 1.0
        network(torch.randn(4, 3, 112, 112))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = 0.1
                module.running_mean.add_(0.1 * torch.randn_like(module.running_mean))
                module.running_var.mul_(torch.empty_like(module.running_var).uniform_(0.7, 1.4))
    return network


@pytest.mark.parametrize("name", SIZES)
def test_keys_their_order_shapes_and_the_order_of_the_parameters_agree(name, theirs):
    with torch.device("meta"), SchedulesOnCpu():
        host, ours = theirs(name, num_features=256), get_model(name, num_features=256)
    expected = [(key, value.shape, value.dtype) for key, value in host.state_dict().items()]
    assert [(key, value.shape, value.dtype) for key, value in ours.state_dict().items()] == expected
    assert [key for key, _ in ours.named_parameters()] == [key for key, _ in host.named_parameters()]


@pytest.mark.parametrize("name", RUN)
def test_weights_load_both_ways_and_give_the_same_embeddings(name, theirs, double):
    """Equal to rounding in float64, so equal as functions; equal in float32 to 1e-5 of the largest coordinate."""
    host, ours = lived_in(theirs(name)), get_model(name)
    ours.load_state_dict(host.state_dict(), strict=True)
    images = torch.randn(2, 3, 112, 112)
    host.eval()
    ours.eval()
    with torch.no_grad():
        assert_equal_up_to_rounding(ours(images), host(images), "float32", 1e-5)
        assert_equal_up_to_rounding(double(ours)(images.double()), double(host)(images.double()), "float64", 1e-11)
    theirs(name).load_state_dict(ours.state_dict(), strict=True)


@pytest.mark.parametrize("name", ["r18", "mbf", pytest.param("mbf_large", marks=SLOW)])
def test_one_seed_gives_the_same_first_weights(name, theirs):
    host, ours = seeded(theirs, name).state_dict(), seeded(get_model, name).state_dict()
    assert [key for key in host if not torch.equal(host[key], ours[key])] == []


@pytest.mark.parametrize(
    "name",
    [
        "r18",
        "mbf",
        "vit_t",
        "vit_t_dp005_mask0",
        *(pytest.param(name, marks=SLOW) for name in ("r50", "vit_s", "vit_b")),
    ],
)
def test_a_training_step_from_one_seed_is_the_same_step(name, theirs, double):
    """Embeddings, gradients and buffers; for a ViT that includes which tokens are masked and which paths dropped.

    In float64, because a BatchNorm over four embeddings magnifies rounding.
    """
    host, ours = double(lived_in(theirs(name, num_features=64))), double(get_model(name, num_features=64))
    ours.load_state_dict(host.state_dict(), strict=True)
    images, direction = torch.randn(4, 3, 112, 112).double(), torch.randn(4, 64).double()
    steps = []
    for network in (host, ours):
        torch.manual_seed(9)
        embeddings = network(images)
        (embeddings * direction).sum().backward()
        gradients = {key: weight.grad for key, weight in network.named_parameters() if weight.grad is not None}
        steps.append({"embeddings": embeddings.detach(), **gradients, **dict(network.named_buffers())})
    assert list(steps[0]) == list(steps[1])
    for key, expected in steps[0].items():
        assert_equal_up_to_rounding(steps[1][key].double(), expected.double(), key, 1e-8)


def seeded(factory: Callable[..., nn.Module], name: str) -> nn.Module:
    torch.manual_seed(5)
    return factory(name)
