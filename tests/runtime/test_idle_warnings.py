"""Warnings that mean nothing are left out by their own words; torch still says them, and every other one is shown."""

import warnings

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from insightface_cakd.runtime.idle_warnings import idle_warnings_left_out


@pytest.fixture
def wrap(tmp_path):
    """Return a function that wraps a network as both hosts do, in a group of one."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)

    def wrapped():
        network = DistributedDataParallel(torch.nn.Linear(2, 2), broadcast_buffers=False, find_unused_parameters=True)
        network._set_static_graph()

    yield wrapped
    dist.destroy_process_group()


def test_what_both_hosts_ask_of_ddp_is_no_matter_for_a_warning(wrap):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        wrap()
    before = len(said)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with idle_warnings_left_out():
            wrap()
    assert (before, [str(one.message) for one in said]) == (2, []), "each filter has a warning that it leaves out"


def test_other_warnings_of_the_same_kinds_are_shown():
    with warnings.catch_warnings(record=True) as said, idle_warnings_left_out():
        warnings.warn("`broadcast` is deprecated", FutureWarning, stacklevel=1)
        warnings.warn("find_unused_parameters=True was specified, but did not find any", UserWarning, stacklevel=1)
    assert len(said) == 2
