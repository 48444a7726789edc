"""Prompts in timm's Swin, against windowed attention written window by window."""

import numpy as np
import pytest
import torch

from insightface_cakd.teachers.prompts import PromptedTeacher, swin
from tests.teachers.prompts import slow_swin
from tests.teachers.prompts.networks import images, prompted, small_swin

PLACEMENTS = ["stage", "deep", "shallow"]


def slowly(teacher, batch):
    """Return the tokens of a batch, image by image."""
    network = teacher.embedder
    with torch.no_grad():
        maps = network.patch_embed(batch)
    sets = [slow_swin.array(prompts) for prompts in teacher.prompts.sets]
    tokens = []
    for image_map in maps:
        x, prompts = slow_swin.swin(network, slow_swin.array(image_map), sets, teacher.spec.placement)
        tokens.append(np.concatenate([x.reshape(-1, x.shape[-1]), prompts]))
    return torch.from_numpy(np.stack(tokens))


def without_prompts(monkeypatch, area):
    """Keep every patch from seeing a prompt."""
    attend = swin.scaled_dot_product_attention

    def blind(q, k, v, attn_mask, scale):
        blinded = attn_mask.repeat(1, 1 if attn_mask.shape[1] == q.shape[1] else q.shape[1], 1, 1)
        blinded[..., min(area, q.shape[2]) :] = -1e9
        return attend(q, k, v, attn_mask=blinded, scale=scale)

    monkeypatch.setattr(swin, "scaled_dot_product_attention", blind)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_tokens_equal_the_slow_implementation(placement):
    teacher, batch = prompted("swin", torch.float64, placement=placement), images("swin", dtype=torch.float64)
    with torch.no_grad():
        embeddings = teacher(batch)
    expected = slowly(teacher, batch)
    torch.testing.assert_close(teacher.tokens, expected, rtol=1e-9, atol=1e-11)
    pooled = expected[:, :64].mean(1)
    torch.testing.assert_close(embeddings, teacher.embedder.head.fc(pooled).detach().float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("placement", "extra"), [("stage", 3), ("deep", 3), ("shallow", 0)])
def test_the_last_stage_keeps_the_prompts_that_no_patch_merging_dropped(placement, extra):
    teacher = prompted("swin", placement=placement)
    with torch.no_grad():
        teacher(images("swin"))
    assert (teacher.grid.rows, teacher.grid.columns, teacher.grid.extra) == (8, 8, extra)
    assert teacher.tokens.shape == (2, 64 + extra, 16)


def test_an_images_tokens_do_not_depend_on_the_batch_around_it():
    teacher, batch = prompted("swin", torch.float64), images("swin", 4, torch.float64)
    with torch.no_grad():
        teacher(batch)
        together = teacher.tokens
        for index in range(4):
            teacher(batch[index : index + 1])
            torch.testing.assert_close(teacher.tokens, together[index : index + 1], rtol=1e-10, atol=1e-12)


def test_the_prompts_of_a_stage_reach_the_next_one_through_the_patches_only():
    """With the second stage's input held fixed, the first stage's prompts change nothing behind it."""
    teacher, batch = prompted("swin"), images("swin")
    merging = teacher.embedder.layers[1].downsample
    fixed = torch.randn(2, 8, 8, 16)
    hook = merging.register_forward_hook(lambda *_: fixed)
    with torch.no_grad():
        teacher(batch)
        before = teacher.tokens.clone()
        teacher.prompts.sets[0].add_(1)
        teacher(batch)
        assert torch.equal(teacher.tokens, before)
        hook.remove()
        teacher(batch)
    assert not torch.equal(teacher.tokens, before)


def test_windows_that_do_not_tile_the_map_are_padded_as_timm_pads_them(monkeypatch):
    """Masked prompts leave the plain network: padding, shift and cropping stay timm's."""
    network = small_swin(window_size=5)
    teacher = PromptedTeacher(network, "padded", 16, "cpu", input_size=64)
    without_prompts(monkeypatch, 25)
    with torch.no_grad():
        torch.testing.assert_close(teacher(images("swin")), teacher.plain(images("swin")), rtol=1e-5, atol=1e-6)


def test_prompts_that_no_patch_sees_change_nothing(monkeypatch):
    teacher, batch = prompted("swin", torch.float64), images("swin", dtype=torch.float64)
    with torch.no_grad():
        plain = teacher.plain(batch)
        assert not torch.allclose(teacher(batch), plain, atol=1e-3)
        without_prompts(monkeypatch, 16)
        torch.testing.assert_close(teacher(batch), plain, rtol=1e-6, atol=1e-7)
