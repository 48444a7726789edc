"""The r-family: its block by its equation, the frozen scale of the embedding, dropout."""

import torch
from torch.nn import functional as F

from insightface_cakd.hosts.embedded.backbones.iresnet import IBasicBlock, IResNet


def normalised(x: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """(x - mean) / sqrt(var + 1e-5) * weight + bias per channel, from a block's state."""
    mean, var, weight, bias = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def randomised(block: IBasicBlock) -> IBasicBlock:
    for key, value in block.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5 if "var" in key else torch.randn_like(value))
    return block.double().eval()


def test_the_block_is_bn_conv_bn_prelu_strided_conv_bn_plus_shortcut():
    torch.manual_seed(0)
    block = randomised(IBasicBlock(4, 6, stride=2))
    state = block.state_dict()
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    inner = normalised(F.conv2d(normalised(x, state, "bn1"), state["conv1.weight"], padding=1), state, "bn2")
    inner = torch.where(inner > 0, inner, inner * state["prelu.weight"][:, None, None])
    inner = normalised(F.conv2d(inner, state["conv2.weight"], stride=2, padding=1), state, "bn3")
    shortcut = normalised(F.conv2d(x, state["downsample.0.weight"], stride=2), state, "downsample.1")
    torch.testing.assert_close(block(x), inner + shortcut, rtol=1e-10, atol=1e-10)


def test_a_block_without_stride_adds_its_own_input():
    block = IBasicBlock(4, 4, stride=1)
    torch.nn.init.zeros_(block.bn3.weight)
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(x), x)


def test_the_sum_leaves_the_last_batchnorms_output_as_a_tap_saw_it():
    block, seen = IBasicBlock(4, 4, stride=1), []
    block.bn3.register_forward_hook(lambda module, inputs, output: seen.append((output, output._version)))
    block(torch.randn(2, 4, 8, 8))
    output, version = seen[0]
    assert output._version == version


def test_the_scale_of_the_embedding_stays_one_through_training():
    network = IResNet((1, 1, 1, 1), num_features=16)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    network(torch.randn(2, 3, 112, 112)).square().sum().backward()
    optimizer.step()
    assert torch.equal(network.features.weight, torch.ones(16))
    assert not torch.equal(network.bn2.weight, torch.ones(512))


def test_dropout_acts_on_the_flattened_grid_in_train_mode_only():
    torch.manual_seed(0)
    network, seen = IResNet((1, 1, 1, 1), num_features=16, dropout=0.5), []
    network.dropout.register_forward_hook(lambda module, inputs, output: seen.append((output == 0).float().mean()))
    network(torch.randn(2, 3, 112, 112))
    network.eval()(torch.randn(2, 3, 112, 112))
    assert abs(seen[0] - 0.5) < 0.01  # 2 * 25088 draws: standard deviation 0.002
    assert seen[1] == 0
