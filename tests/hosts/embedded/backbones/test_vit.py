"""The ViT family: attention by its equation, masks followed token by token, stochastic depth, checkpoints."""

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.backbones.vit import Attention, DropPath, VisionTransformer


def small(**settings) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(**({"width": 32, "depth": 3, "drop_path": 0.0, "mask_ratio": 0.0} | settings))


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 112, 112, generator=torch.Generator().manual_seed(7))


def recorded(network: torch.nn.Module, path: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs and outputs of a submodule, as they come."""
    calls: list[tuple[torch.Tensor, torch.Tensor]] = []
    network.get_submodule(path).register_forward_hook(lambda module, given, out: calls.append((given[0], out)))
    return calls


def test_attention_is_softmax_of_scaled_products_per_head():
    torch.manual_seed(0)
    attention = Attention(32).double()
    tokens = torch.randn(2, 5, 32, dtype=torch.float64)
    expected = torch.empty_like(tokens)
    for head in range(8):
        rows = torch.arange(head * 4, head * 4 + 4)
        q, k, v = (tokens @ attention.qkv.weight[rows + part * 32].T for part in range(3))
        expected[..., rows] = torch.softmax(q @ k.transpose(1, 2) / 2.0, dim=-1) @ v  # sqrt(4) = 2
    torch.testing.assert_close(attention(tokens), attention.proj(expected), rtol=1e-10, atol=1e-10)


def test_the_form_written_for_exporters_is_the_same_attention(monkeypatch):
    attention, tokens = Attention(32).double(), torch.randn(2, 5, 32, dtype=torch.float64)
    fused = attention(tokens)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    torch.testing.assert_close(attention(tokens), fused, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "kept"), [("vit_t", 129), ("vit_t_dp005_mask0", 144)])
def test_the_blocks_of_a_network_in_training_see_the_tokens_its_name_leaves_them(name, kept):
    network = get_model(name, num_features=16)
    calls = recorded(network, "blocks.11")
    network(images())
    assert calls[0][1].shape == (2, kept, 256)
    network.eval()(images())
    assert calls[1][1].shape == (2, 144, 256)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("vit_s", 129),
        ("vit_s_dp005_mask_0", 144),
        ("vit_b", 129),
        ("vit_b_dp005_mask_005", 136),
        ("vit_l_dp005_mask_005", 136),
        ("vit_h", 144),
    ],
)
def test_a_five_percent_name_masks_five_percent_not_ten(name, kept):
    with torch.device("meta"):
        assert get_model(name).kept_tokens == kept


def test_masked_places_hold_the_mask_token_and_the_others_their_own_token():
    """With silent blocks every kept token must come out of `norm` where it went in."""
    network = small(mask_ratio=0.1)
    for block in network.blocks:
        torch.nn.init.zeros_(block.attn.proj.weight)
        torch.nn.init.zeros_(block.mlp.fc2.weight)
    restored = recorded(network, "feature")
    batch = images(4)
    network(batch)
    tokens = restored[0][0].unflatten(1, (144, 32))
    masked = (tokens == network.mask_token).all(dim=-1)  # (4, 144)
    own = network.norm(network.patch_embed(batch) + network.pos_embed)
    assert masked.sum(dim=1).tolist() == [15, 15, 15, 15]
    torch.testing.assert_close(tokens[~masked], own[~masked], rtol=1e-5, atol=1e-5)
    assert len({tuple(row.tolist()) for row in masked}) == 4  # each image has its own mask


def test_tokens_keep_their_order_where_nothing_is_masked():
    network = small()
    blocks, batch = recorded(network, "blocks.0"), images()
    network(batch)
    torch.testing.assert_close(blocks[0][0], network.patch_embed(batch) + network.pos_embed)


def test_the_mask_token_learns_exactly_where_it_is_used():
    masking, whole = small(mask_ratio=0.1), small()
    for network in (masking, whole):
        (network(images()) * torch.randn(2, 512)).sum().backward()
    assert masking.mask_token.grad.abs().sum() > 0
    assert not whole.mask_token.requires_grad
    assert "mask_token" in whole.state_dict()


def test_the_last_pixels_are_never_seen():
    network, batch = small().eval(), images()
    cropped = batch.clone()
    cropped[:, :, 108:, :] = 0
    cropped[:, :, :, 108:] = 0
    with torch.no_grad():
        assert torch.equal(network(batch), network(cropped))


def test_drop_path_zeroes_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    layer = DropPath(0.25)
    out = layer(torch.ones(20_000, 2, 3))
    per_sample = out[:, 0, 0]
    assert torch.equal(out, per_sample[:, None, None].expand_as(out))
    assert per_sample.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert abs(out.mean() - 1) < 0.02  # standard deviation sqrt(1/3 / 20000) = 0.004
    assert torch.equal(layer.eval()(out), out)


def test_drop_path_rates_rise_linearly_with_depth():
    rates = [block.drop_path.rate for block in small(drop_path=0.1).blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1])


def test_recomputing_the_blocks_changes_no_gradient():
    gradients = []
    for checkpointed in (False, True):
        network = small(drop_path=0.3, mask_ratio=0.1, checkpointed=checkpointed)
        torch.manual_seed(3)
        network(images(4))[:, 0].sum().backward()
        gradients.append([weight.grad for weight in network.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed, rtol=1e-5, atol=1e-7)


def test_a_tap_on_a_recomputed_block_fires_once_in_the_forward_and_carries_gradient():
    network = small(checkpointed=True)
    calls = recorded(network, "blocks.1")
    network(images())
    assert [out.requires_grad for _, out in calls] == [True]


@pytest.mark.parametrize(
    ("name", "checkpointed"), [("vit_t", False), ("vit_s", False), ("vit_b", True), ("vit_h", True)]
)
def test_the_large_ones_recompute_their_blocks(name, checkpointed):
    with torch.device("meta"):
        assert get_model(name).checkpointed is checkpointed
