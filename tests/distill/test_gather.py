"""Gathering: concatenation forward, a sum over ranks backward; nothing at all in one process."""

import pytest
import torch

from insightface_cakd.distill.gather import gather, gather_constant
from insightface_cakd.runtime.ranks import rank, world_size
from tests.ranks import QUICK_RANKS, run_ranks


def gram_loss(rows):
    return (rows @ rows.T).square().mean()


def batch():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def gathered_gradient():
    """Return what DDP would average to: the mean over ranks of a shared parameter's gradient, and the gathered rows."""
    weight = torch.ones(4, dtype=torch.float64, requires_grad=True)
    mine = batch().chunk(world_size())[rank()] * weight
    everyone = gather(mine)
    gram_loss(everyone).backward()
    return weight.grad, everyone.detach(), gather_constant(mine).requires_grad


@pytest.mark.parametrize("world", QUICK_RANKS)
def test_averaged_gradients_equal_one_process_on_the_joined_batch(world):
    weight = torch.ones(4, dtype=torch.float64, requires_grad=True)
    gram_loss(batch() * weight).backward()
    results = run_ranks(gathered_gradient, world)
    averaged = torch.stack([gradient for gradient, _, _ in results]).mean(0)
    torch.testing.assert_close(averaged, weight.grad, rtol=1e-10, atol=0)
    for _, everyone, constant_has_gradient in results:
        assert torch.equal(everyone, batch())
        assert not constant_has_gradient


def test_without_a_process_group_the_rows_are_the_rows():
    rows = batch().requires_grad_()
    assert gather(rows) is rows
    assert not gather_constant(rows).requires_grad
