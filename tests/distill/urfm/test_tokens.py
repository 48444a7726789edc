"""Every activation with a grid becomes tokens row by row; one without is refused."""

import pytest
import torch

from insightface_cakd.distill.urfm import TokenGrid, as_tokens
from insightface_cakd.errors import ShapeError


@pytest.mark.parametrize("side", [7, 12, 14])
def test_maps_of_both_layouts_give_the_same_tokens_row_by_row(side):
    maps = torch.rand(2, 5, side, side)
    tokens, grid = as_tokens(maps)
    assert grid == TokenGrid(side, side)
    assert torch.equal(tokens[:, 3 * side + 2], maps[:, :, 3, 2])
    swin, swin_grid = as_tokens(maps.permute(0, 2, 3, 1))
    assert swin_grid == grid
    assert torch.equal(swin, tokens)


def test_maps_need_not_be_square():
    tokens, grid = as_tokens(torch.rand(2, 5, 3, 4))
    assert tokens.shape == (2, 12, 5)
    assert (grid.rows, grid.columns) == (3, 4)


def test_tokens_stay_as_they_are_and_leading_extra_ones_move_behind():
    tokens = torch.rand(2, 144, 8)
    same, grid = as_tokens(tokens)
    assert torch.equal(same, tokens)
    assert grid == TokenGrid(12, 12)
    with_class = torch.cat([torch.full((2, 1, 8), 9.0), tokens[:, :49]], dim=1)
    moved, grid = as_tokens(with_class, extra=1)
    assert torch.equal(moved[:, :49], tokens[:, :49])
    assert (moved[:, 49] == 9).all()
    assert (str(grid), grid.count) == ("7x7 + 1", 50)


@pytest.mark.parametrize(
    ("shape", "extra", "message"),
    [
        ((2, 512), 0, r"urfm.student: activation \(2, 512\) has no grid; expected a map"),
        ((2, 8, 7, 7), 1, r"activation \(2, 8, 7, 7\) with 1 extra tokens has no grid"),
        ((2, 50, 8), 0, r"50 tokens, 0 of them extra, lie on no square grid; .* 1 extra would leave 49: set urfm.stud"),
        ((2, 60, 8), 0, r"60 tokens, 0 of them extra, lie on no square grid; .* Tap another layer\."),
        ((2, 4, 8), 4, r"4 tokens, 4 of them extra, lie on no square grid"),
    ],
)
def test_what_has_no_grid_is_refused_in_one_line(shape, extra, message):
    with pytest.raises(ShapeError, match=message) as caught:
        as_tokens(torch.rand(*shape), extra, "urfm.student")
    assert "\n" not in str(caught.value)
