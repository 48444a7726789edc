"""Maps of two networks on one grid: by area, without tokens that have no place."""

import pytest
import torch

from insightface_cakd.distill.urfm.common_grid import common_grid, patch_attention, regrid, shares
from insightface_cakd.networks.token_grid import TokenGrid


def test_the_coarser_grid_is_common_and_has_no_extra_tokens():
    assert common_grid(TokenGrid(7, 7), TokenGrid(12, 12, extra=8)) == TokenGrid(7, 7)
    assert common_grid(TokenGrid(4, 6), TokenGrid(5, 3)) == TokenGrid(4, 3)


def test_a_cell_is_shared_by_area():
    expected = [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]
    torch.testing.assert_close(shares(3, 2), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(("fine", "coarse"), [(12, 7), (14, 7), (7, 7), (5, 1)])
def test_nothing_is_lost_and_every_coarse_cell_gets_as_much(fine, coarse):
    found = shares(fine, coarse)
    torch.testing.assert_close(found.sum(0), torch.ones(fine, dtype=torch.float64))
    torch.testing.assert_close(found.sum(1), torch.full((coarse,), fine / coarse, dtype=torch.float64))


def test_equal_grids_are_left_as_they_are():
    grid = TokenGrid(4, 4)
    looks = torch.rand(2, 1, 3, 16).softmax(-1)
    assert regrid(grid, grid) is None
    assert torch.equal(patch_attention(looks, grid, None), looks)


def test_a_map_lands_where_it_was():
    fine, coarse = TokenGrid(4, 6), TokenGrid(2, 3)
    looks = torch.zeros(1, 1, 1, 24)
    looks[..., 2 * 6 + 5] = 1  # third row, last column
    found = patch_attention(looks, fine, regrid(fine, coarse)).view(2, 3)
    assert found[1, 2] == 1
    assert found.sum() == 1


def test_what_goes_to_prompts_is_left_out():
    grid = TokenGrid(1, 2, extra=1)
    looks = torch.tensor([[[[0.2, 0.3, 0.5]]], [[[0.0, 0.0, 1.0]]]])
    found = patch_attention(looks, grid, None)
    torch.testing.assert_close(found[0].flatten(), torch.tensor([0.4, 0.6]))
    assert torch.isfinite(found).all()
    assert found[1].sum() == 0
