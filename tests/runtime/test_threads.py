"""A block in which every thread computes alone leaves PyTorch's number of threads as it was."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from insightface_cakd.runtime.threads import one_thread_each


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_new_threads_compute_alone_within_the_block():
    with one_thread_each(), ThreadPoolExecutor(2) as pool:
        assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {1}
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_a_fault_within_the_block_changes_nothing():
    with pytest.raises(ValueError, match="a fault"), one_thread_each():
        raise ValueError("a fault")
    assert torch.get_num_threads() == 3
