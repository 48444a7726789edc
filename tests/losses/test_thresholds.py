"""The search for thresholds, digit by digit, against a sort of the row."""

import pytest
import torch

from insightface_cakd.losses.groups import EXACT
from insightface_cakd.losses.thresholds import Search

NOBODY = torch.full((5, 1), -1)
RANKS = torch.tensor([[1], [7], [30], [59], [60]])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_number_of_a_rank_is_found_whatever_its_size_and_sign(seed, scale, dtype):
    rows = (torch.randn(5, 60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale).to(dtype)
    search = Search(rows, NOBODY, EXACT[dtype.itemsize])
    for _ in EXACT[dtype.itemsize]:
        search.choose(search.histogram().double(), RANKS.double())
    expected = rows.sort(dim=1, descending=True).values.gather(1, RANKS - 1)
    for end in search.range():
        assert torch.equal(end, expected)
    assert torch.equal(search.above, RANKS - 1.0)


def test_a_digit_left_out_leaves_a_range_with_the_number_in_it():
    rows = torch.tensor([[3.0, 2.0, 1.0]] * 5)
    search = Search(rows, NOBODY, (12, 12))
    for _ in range(2):
        search.choose(search.histogram().double(), torch.full((5, 1), 2.0))
    low, top = search.range()
    assert low[0].item() == 2
    assert 2 < top[0].item() < 2 * (1 + 2**-15)


def test_the_own_class_is_not_counted():
    rows = torch.tensor([[3.0, 2.0, 1.0]] * 5)
    search = Search(rows, torch.tensor([[0], [1], [2], [-1], [0]]), EXACT[4])
    assert search.histogram().sum(1).tolist() == [2, 2, 2, 3, 2]
