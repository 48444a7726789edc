"""FaceBN: between eval and train mode, each batch on its own, nothing left behind."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from insightface_cakd.errors import EvaluationError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.face_bn import face_batch_norm


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5), nn.BatchNorm1d(5)
    )
    network.double()(torch.randn(8, 3, 6, 6).double())
    return network.eval()


def images(seed=1, count=6):
    return 2 * torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed)).double() + 1


def adapted(network, share, batch):
    with face_batch_norm(network, share):
        return network(batch)


def test_a_share_of_0_is_eval_mode(network):
    assert torch.equal(adapted(network, 0, images()), network(images()))


def test_a_share_of_1_is_the_normalisation_of_training(network):
    trained = copy.deepcopy(network).train()
    torch.testing.assert_close(adapted(network, 1, images()), trained(images()), rtol=0, atol=1e-12)


def test_a_share_between_mixes_the_biased_statistics_of_the_batch(network):
    norm, rows = nn.BatchNorm1d(3).double().eval(), images()[:, :, 0, 0]
    norm.running_mean.copy_(torch.tensor([1.0, 2, 3]))
    norm.running_var.copy_(torch.tensor([4.0, 5, 6]))
    x = rows.numpy()
    mean = 0.7 * np.array([1, 2, 3]) + 0.3 * x.mean(axis=0)
    variance = 0.7 * np.array([4, 5, 6]) + 0.3 * x.var(axis=0)
    np.testing.assert_allclose(adapted(norm, 0.3, rows).detach(), (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-9)


def test_weights_and_statistics_stay_and_no_batch_sees_another(network):
    before = copy.deepcopy(network.state_dict())
    alone = adapted(network, 0.5, images(2))
    with face_batch_norm(network, 0.5):
        network(images(3) * 10)
        after_another = network(images(2))
    assert torch.equal(alone, after_another)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(network(images()), network.eval()(images()))


def test_a_failure_leaves_the_network_as_it_was(network):
    plain = network(images())
    with pytest.raises(EvaluationError, match="--face-bn: a batch of one image; expected at least two"):
        adapted(network, 0.5, images(count=1))
    assert torch.equal(network(images()), plain)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan"), True])
def test_a_share_out_of_range_is_refused(network, share):
    with pytest.raises(EvaluationError, match=r"--face-bn .*expected a share of the test's statistics, from 0 to 1"):
        adapted(network, share, images())


@pytest.mark.parametrize("other", [nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False), lambda x: x])
def test_a_network_without_statistics_is_refused(other):
    with pytest.raises(EvaluationError, match="--face-bn: the model has no batch norm with statistics"):
        adapted(other, 0.5, images())


def test_a_recogniser_of_the_host_is_adapted_in_half_precision_too():
    network = get_model("mbf", num_features=64).eval()
    faces = torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.no_grad(), face_batch_norm(network, 0.5), torch.autocast("cpu", torch.bfloat16):
        assert network(faces).isfinite().all()
