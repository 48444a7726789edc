"""Prompts in the ViTs, against the network run by hand block by block."""

import pytest
import torch
from timm.layers import attention as timm_attention
from torch.nn import functional as F

from insightface_cakd.hosts.embedded.backbones import tiny
from insightface_cakd.teachers.prompts import PromptedTeacher, PromptSpec
from tests.teachers.prompts.networks import WIDTH, images, prompted, small_timm_vit

STARTS = {"stage": [0, 1, 2, 3], "deep": [0, 1, 2, 3], "shallow": [0]}
VITS = ["timm vit", "arcface vit", "vit_tiny"]


def first_tokens(kind, network, batch):
    """Return what the first block is given."""
    tokens = network.patch_embed(batch)
    if kind == "timm vit":
        return network._pos_embed(tokens)
    return (tokens if tokens.ndim == 3 else tokens.flatten(2).transpose(1, 2)) + network.pos_embed


def head(kind, network, tokens):
    return network.forward_head(tokens) if kind == "timm vit" else network.feature(tokens.flatten(1))


@torch.no_grad()
def by_hand(kind, teacher, batch):
    """Return embedding, patches and prompts behind the last norm."""
    network, sets = teacher.embedder, iter(teacher.prompts.sets)
    tokens = first_tokens(kind, network, batch)
    for index, block in enumerate(network.blocks):
        if index in STARTS[teacher.spec.placement]:
            prompts = next(sets).expand(len(batch), -1, -1)
        joint = block(torch.cat([prompts, tokens], dim=1))  # any order: attention has none
        prompts, tokens = joint[:, : prompts.shape[1]], joint[:, prompts.shape[1] :]
    prefix = 3 if kind == "timm vit" else 0
    normed = network.norm(tokens)
    return head(kind, network, normed), normed[:, prefix:], network.norm(prompts)


@pytest.mark.parametrize("placement", STARTS)
@pytest.mark.parametrize("kind", VITS)
def test_embedding_and_tokens_equal_the_network_run_by_hand(kind, placement):
    teacher, batch = prompted(kind, torch.float64, placement=placement), images(kind, dtype=torch.float64)
    with torch.no_grad():
        embedding = teacher(batch)
    expected, patches, prompts = by_hand(kind, teacher, batch)
    torch.testing.assert_close(embedding, expected.float())
    torch.testing.assert_close(teacher.tokens, torch.cat([patches, prompts], dim=1), rtol=1e-9, atol=1e-11)
    assert teacher.grid.count == teacher.tokens.shape[1]
    assert teacher.grid.extra == 3


def test_a_vits_blocks_are_divided_into_four_stages():
    def starts(depth):
        network = small_timm_vit(depth=depth)
        return PromptedTeacher(network, "vit", WIDTH, "cpu", PromptSpec(tokens=1), input_size=64)._starts

    assert starts(12) == [0, 3, 6, 9]
    assert starts(6) == [0, 1, 3, 4]
    assert starts(2) == [0, 1]


@pytest.mark.parametrize("pooling", ["avg", "map"])
def test_pooling_sees_the_networks_own_tokens_only(pooling):
    network = small_timm_vit(global_pool=pooling)
    teacher = PromptedTeacher(network, "vit", WIDTH, "cpu", input_size=64)
    seen = []
    hook = network.norm.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    with torch.no_grad():
        teacher(images("timm vit"))
    hook.remove()
    assert seen == [16 + 3]


@pytest.mark.parametrize("kind", VITS)
def test_prompts_that_no_token_sees_change_nothing(kind, monkeypatch):
    teacher, batch = prompted(kind, torch.float64), images(kind, dtype=torch.float64)
    attend, own = F.scaled_dot_product_attention, {"timm vit": 19, "arcface vit": 144, "vit_tiny": 49}[kind]

    def blind(q, k, v, **_):
        mask = torch.arange(k.shape[2]) < own
        return attend(q, k, v, attn_mask=mask.expand(q.shape[2], -1))

    with torch.no_grad():
        plain = teacher.plain(batch)
        assert not torch.allclose(teacher(batch), plain, atol=1e-3)
        monkeypatch.setattr(F, "scaled_dot_product_attention", blind)
        monkeypatch.setattr(tiny, "scaled_dot_product_attention", blind)
        monkeypatch.setattr(timm_attention.F, "scaled_dot_product_attention", blind)
        torch.testing.assert_close(teacher(batch), plain, rtol=1e-6, atol=1e-7)


def test_without_the_norm_the_tokens_are_the_last_blocks():
    teacher, batch = prompted("arcface vit", output="block"), images("arcface vit")
    seen = []
    hook = teacher.embedder.blocks[-1].register_forward_hook(lambda *args: seen.append(args[-1]))
    with torch.no_grad():
        teacher(batch)
        hook.remove()
        assert torch.equal(teacher.tokens[:, :144], seen[0])
        raw = teacher.tokens
        normed = prompted("arcface vit")
        normed(batch)
        torch.testing.assert_close(teacher.embedder.norm(raw), normed.tokens)
