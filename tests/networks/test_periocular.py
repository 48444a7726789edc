"""CKD's network: joint batch norms, shared stages, and an ordinary network after training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from insightface_cakd.errors import ShapeError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.periocular import PeriocularNetwork, SharedBlock, joint_batch_norm


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(count)) * 2 - 1


def maps() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    sizes = ((8, 8, 1.0, 0.0), (3, 8, 2.0, 5.0))
    return [torch.randn(4, 6, h, w, generator=draw).double() * scale + shift for h, w, scale, shift in sizes]


def slow_joint(both: list[torch.Tensor], norm: nn.BatchNorm2d) -> list[np.ndarray]:
    """Each channel over all pixels of both maps, by the definition."""
    found = [one.numpy().copy() for one in both]
    for channel in range(6):
        pixels = np.concatenate([one[:, channel].reshape(-1) for one in found])
        mean, variance = pixels.mean(), pixels.var()
        weight, bias = norm.weight[channel].item(), norm.bias[channel].item()
        for one in found:
            one[:, channel] = (one[:, channel] - mean) / np.sqrt(variance + norm.eps) * weight + bias
    return found


def a_norm() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(6).double()
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.uniform_(norm.bias, -1.0, 1.0)
    return norm


def test_a_joint_norm_is_that_of_the_joined_pixels_and_not_two_of_its_own():
    norm, both = a_norm(), maps()
    found = joint_batch_norm(norm, both)
    for ours, slow in zip(found, slow_joint(both, norm), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), slow, rtol=1e-10, atol=1e-12)
    apart = [norm(one) for one in both]
    assert all(float((ours - own).detach().abs().max()) > 0.1 for ours, own in zip(found, apart, strict=True))


def test_its_running_statistics_weigh_maps_by_their_pixels_and_serve_each_map_in_eval_mode():
    norm, both = a_norm(), maps()
    joint_batch_norm(norm, both)
    pixels = torch.cat([one.permute(1, 0, 2, 3).flatten(1) for one in both], dim=1)
    torch.testing.assert_close(norm.running_mean, 0.1 * pixels.mean(1))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * pixels.var(1))
    norm.eval()
    for ours, own in zip(joint_batch_norm(norm, both), both, strict=True):
        assert torch.equal(ours, norm(own))


def test_in_a_block_both_maps_share_every_statistic():
    torch.manual_seed(0)
    block, both = SharedBlock(6, 12, 2).double(), maps()
    together = block(both)
    assert [tuple(one.shape) for one in together] == [(4, 12, 4, 4), (4, 12, 2, 4)]
    alone = block([both[0]])[0]
    assert float((together[0] - alone).abs().max()) > 1e-3


def test_the_trunk_is_shared_and_each_tail_is_its_own():
    network = get_model("ckd_tiny", num_features=16)
    names = dict(network.named_parameters())
    assert not any("face" in name or "strip" in name for name in names if not name.startswith("tails."))
    assert {name.split(".")[1] for name in names if name.startswith("tails.")} == {"face", "strip"}
    network.answers = "both"
    network(images(4))[:, 0].sum().backward()
    shared = network.stages[0][0].conv1.weight
    face = shared.grad.clone()
    network.zero_grad()
    network(images(4))[:, 1].square().sum().backward()
    assert float(face.abs().sum()) > 0
    assert float(shared.grad.abs().sum()) > 0


def test_one_branch_alone_answers_in_eval_mode_what_both_answer():
    torch.manual_seed(0)
    network = get_model("ckd_tiny", num_features=16)
    network.answers = "both"
    network(images(4))  # gives the batch norms statistics of their own
    network.eval()
    with torch.no_grad():
        both = network.both(images(3))
        torch.testing.assert_close(network.by("face", images(3)), both[:, 0])
        torch.testing.assert_close(network.by("strip", images(3)), both[:, 1])
        assert torch.equal(network(images(3)), network.by("strip", images(3)))
        by_face = get_model("ckd_tiny_face", num_features=16).eval()
        by_face.load_state_dict(network.state_dict(), strict=True)
        assert torch.equal(by_face(images(3)), network.by("face", images(3)))


def test_in_train_mode_it_answers_both_only_if_so_set():
    network = get_model("ckd_tiny", num_features=16)
    assert network(images(2)).shape == (2, 16)
    network.answers = "both"
    assert network(images(2)).shape == (2, 2, 16)


def test_a_branch_that_trains_alone_leaves_the_other_as_it_was():
    network = get_model("ckd_tiny", num_features=16)
    network.train_alone("strip")
    network(images(2)).square().sum().backward()
    for name, weight in network.named_parameters():
        assert (weight.grad is None) == name.startswith("tails.face."), name


def test_both_pictures_are_of_one_image_so_that_one_flip_flips_both():
    network = PeriocularNetwork(16, width=8, side=64)
    for branch, rows, size in (("strip", slice(31, 73), (24, 64)), ("face", slice(0, 112), (64, 64))):
        shown = network.picture(branch, images(2))
        assert shown.shape == (2, 3, *size)
        torch.testing.assert_close(
            shown, interpolate(images(2)[:, :, rows], size, mode="bilinear", align_corners=False)
        )
        torch.testing.assert_close(network.picture(branch, images(2).flip(-1)), shown.flip(-1))


def test_the_papers_sizes():
    with torch.device("meta"):
        network = get_model("ckd", num_features=512)
    assert network.sizes == {"face": (128, 128), "strip": (48, 128)}
    assert [one[0].conv2.out_channels for one in network.stages] == [64, 128, 256]
    inputs = {name: tail.fc.in_features for name, tail in network.tails.items()}
    assert inputs == {"face": 512 * 8 * 8, "strip": 512 * 3 * 8}


@pytest.mark.parametrize("shape", [(2, 3, 128, 128), (2, 3, 48, 128), (2, 1, 112, 112)])
def test_what_is_no_aligned_face_is_refused(shape):
    with pytest.raises(ShapeError, match=r"network: images of shape .*; expected aligned faces \(B, 3, 112, 112\)"):
        get_model("ckd_tiny", num_features=16).eval()(torch.zeros(shape))
