"""The draws of a batch are those of NumPy's own generator of each item."""

import numpy as np
import pytest

from insightface_cakd.hosts.embedded.draws import first_below_half


@pytest.mark.parametrize(
    "key", [(0, 0), (2048, 0), (2048, 19), (5, 2**32 - 1), (2**32, 3), (2**63 - 1, 2**40), (7,), (1, 2, 3, 4, 5)]
)
def test_each_item_draws_what_its_own_generator_draws(key):
    indices = np.r_[np.arange(300), 42_474_556, 2**31, 2**32 - 1]
    expected = [np.random.default_rng((*key, int(index))).random() < 0.5 for index in indices]
    assert first_below_half(key, indices).tolist() == expected
    assert 100 < sum(expected) < 203


def test_a_batch_may_be_of_one_or_none():
    alone = np.random.default_rng((2048, 1, 77)).random() < 0.5
    assert first_below_half((2048, 1), np.array([77])).tolist() == [alone]
    assert first_below_half((2048, 1), np.array([], np.int64)).tolist() == []
