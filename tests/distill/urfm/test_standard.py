"""What all images have in common is taken out of tokens, and only that."""

import pytest
import torch

from insightface_cakd.distill.urfm.standard import Standardised
from insightface_cakd.runtime.ranks import rank, world_size
from tests.ranks import RANKS, run_ranks

COUNT, WIDTH = 6, 4


def batches(steps=3, images=12):
    generator = torch.Generator().manual_seed(0)
    place = 10 * torch.randn(COUNT, WIDTH, generator=generator)
    return [place + 0.1 * torch.randn(images, COUNT, WIDTH, generator=generator) for _ in range(steps)]


def test_each_channel_of_each_token_has_mean_0_and_variance_1_over_the_images():
    tokens = batches(1)[0]
    standard = Standardised(COUNT, WIDTH)(tokens)
    expected = (tokens - tokens.mean(0)) / tokens.std(0, correction=0)
    torch.testing.assert_close(standard, expected, rtol=1e-4, atol=1e-4)


def test_what_tells_images_apart_fills_the_tokens():
    tokens = batches(1, images=64)[0]

    def share(x):
        return float(x.var(0).mean() / x.square().mean())

    assert share(tokens) < 1e-3
    assert share(Standardised(COUNT, WIDTH)(tokens)) > 0.99


def test_the_first_steps_count_equally_and_later_ones_a_tenth():
    module = Standardised(COUNT, WIDTH)
    data = batches(12)
    for tokens in data[:4]:
        module(tokens)
    joined = torch.cat(data[:4])
    torch.testing.assert_close(
        module.moments, torch.stack((joined.mean(0), joined.var(0, correction=0))), rtol=1e-4, atol=1e-6
    )
    for tokens in data[4:10]:
        module(tokens)
    before = module.moments[0].clone()
    module(data[10])
    torch.testing.assert_close(module.moments[0], 0.9 * before + 0.1 * data[10].mean(0))


def test_in_eval_mode_nothing_is_learnt_and_an_image_is_the_same_alone():
    module = Standardised(COUNT, WIDTH)
    module(batches(1)[0])
    module.eval()
    before, tokens = module.moments.clone(), batches(2)[1]
    together, alone = module(tokens), module(tokens[:1])
    torch.testing.assert_close(together[:1], alone)
    assert torch.equal(module.moments, before)


def test_the_moments_are_constants_for_the_gradient():
    module = Standardised(COUNT, WIDTH)
    tokens = batches(1)[0].requires_grad_()
    module(tokens).sum().backward()
    scale = module.moments[1].rsqrt()
    torch.testing.assert_close(tokens.grad, scale.expand_as(tokens), rtol=1e-4, atol=0)


def moments_of_this_rank():
    module = Standardised(COUNT, WIDTH)
    for tokens in batches():
        module(tokens.chunk(world_size())[rank()])
    return module.state_dict()


@pytest.mark.parametrize("world", RANKS)
def test_ranks_have_the_moments_of_the_joined_batch(world):
    module = Standardised(COUNT, WIDTH)
    for tokens in batches():
        module(tokens)
    for state in run_ranks(moments_of_this_rank, world):
        for key, value in module.state_dict().items():
            torch.testing.assert_close(state[key], value, rtol=1e-6, atol=1e-5)


def test_a_channel_that_never_changes_stays_finite():
    tokens = torch.ones(4, COUNT, WIDTH)
    assert torch.isfinite(Standardised(COUNT, WIDTH)(tokens)).all()
