"""nearest_others against all pairs at once, for sizes and chunks that do not go into each other."""

from itertools import product

import numpy as np
import pytest
import torch

from insightface_cakd.data.prototypes import nearest_others


def rows(count, width=8, seed=0):
    drawn = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def brute_force(rows, nearest):
    """Sort every pair in float64."""
    cosines = rows.double().numpy() @ rows.double().numpy().T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :nearest]


@pytest.mark.parametrize("chunks", [(1, 1), (3, 7), (16, 5), (512, 16384)])
def test_equals_all_pairs_at_once(chunks):
    for count, nearest in product([2, 3, 17, 101], [1, 5, 100]):
        found = nearest_others(rows(count), nearest, chunks=chunks)
        assert found.dtype == torch.int32
        assert found.tolist() == brute_force(rows(count), nearest)[:, : count - 1].tolist(), (count, nearest)


def test_nobody_is_an_other_of_their_own():
    found = nearest_others(rows(60), 59, chunks=(7, 11))
    assert all(sorted([*others, own]) == list(range(60)) for own, others in enumerate(found.tolist()))


@pytest.mark.parametrize("chunks", [(1, 1), (4, 3), (5, 8), (512, 16384)])
def test_of_equal_ones_the_smaller_number_comes_first_however_pairs_are_cut(chunks):
    same = rows(3, width=300)[[0, 1, 0, 0, 2, 1, 0, 2, 0]]
    found = nearest_others(same, 4, chunks=chunks)
    assert found[0].tolist()[:4] == [2, 3, 6, 8]
    assert found[8].tolist()[:4] == [0, 2, 3, 6]
    assert found[5].tolist()[0] == 1
    assert torch.equal(found, nearest_others(same, 4))


def test_the_order_of_the_identities_changes_nothing_but_their_numbers():
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    plain, shuffled = nearest_others(rows(50), 10), nearest_others(rows(50)[order], 10, chunks=(9, 13))
    assert torch.equal(order[shuffled.long()], plain[order].long())


def test_opposite_and_equal_rows_are_told_apart():
    assert nearest_others(torch.tensor([[1.0, 0], [-1, 0], [1, 0], [0, 1]]), 3).tolist() == [
        [2, 3, 1],
        [3, 0, 2],
        [0, 3, 1],
        [0, 1, 2],
    ]


def test_progress_reaches_the_end():
    seen = []
    nearest_others(rows(10), 2, seen.append, chunks=(4, 4))
    assert seen == [4, 8, 10]
