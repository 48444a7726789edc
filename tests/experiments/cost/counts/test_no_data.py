"""Steps on tensors without data: nothing is allocated, and the shapes are those of a step with data."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor

from insightface_cakd.errors import RunError
from insightface_cakd.experiments.cost.counts.no_data import NoData, ranks_that_answer_nothing, tensors_of
from insightface_cakd.experiments.cost.steps import DISTILLATION, HeadSize, timed_runs
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe
from insightface_cakd.runtime.ranks import rank, world_size

CPU = torch.device("cpu")
LARGE = """
import re
from insightface_cakd.experiments.cost.counts.prediction import Job, count
from insightface_cakd.experiments.cost.steps import HeadSize
from insightface_cakd.recipe import load_recipe
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
recipe, before = load_recipe("proxylesskd", ["teacher.network=vit_h"]), peak()
print(count(Job(recipe, "r200", ranks=8), HeadSize(10_000_000)).peak // 2**20, peak() - before)
"""


def shapes(network):
    return [(name, tensor.shape, tensor.stride(), tensor.dtype) for name, tensor in network.state_dict().items()]


@pytest.mark.parametrize("name", ["mbf", "vit_tiny", "swin_tiny", "r18"])
def test_a_network_without_data_has_the_shapes_and_layout_of_one_with(name):
    network = NoData().network(lambda: get_model(name))
    assert shapes(network) == shapes(get_model(name))
    assert all(isinstance(one, FakeTensor) for one in network.state_dict().values())
    assert [one.requires_grad for one in network.parameters()] == [
        one.requires_grad for one in get_model(name).parameters()
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
def test_what_is_too_large_to_have_is_not_allocated():
    """vit_h teaches r200 at 10M classes: some 50 GiB a rank, in less than 1 GiB."""
    said = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True).stdout
    counted, allocated = map(int, said.split())
    assert counted > 40_000
    assert allocated < 1000


def test_after_the_step_is_built_no_tensor_with_data_is_taken():
    maker = NoData()
    runs = timed_runs(load_recipe("kd"), "cnn_tiny", 2, CPU, "fp32", HeadSize(50), maker)
    step = runs[DISTILLATION]
    with maker.taken(runs.values(), "cpu"):
        assert tensors_of(step)
        assert all(isinstance(one, FakeTensor) for one in tensors_of(step))
        with pytest.raises(AssertionError, match="FakeTensor"):
            step.head.weight + real()
        with pytest.raises(DataDependentOutputException):
            step.loss().item()


def real():
    """Return a tensor with data, made outside all modes."""
    with torch.utils._python_dispatch._disable_current_modes():
        return torch.ones(1)


def test_a_tensor_that_two_share_stays_shared():
    class Both(nn.Module):
        """Two names for one weight."""

        def __init__(self):
            super().__init__()
            self.one = nn.Linear(2, 2)
            self.other = self.one

    both = Both()
    with NoData().taken([both], "cpu"):
        assert both.one.weight is both.other.weight
        assert isinstance(both.one.weight, FakeTensor)


def test_ranks_are_there_within_the_block_only():
    with ranks_that_answer_nothing(8):
        assert (rank(), world_size()) == (0, 8)
        with (
            pytest.raises(
                RunError, match=r"^ranks: this process is a rank of a run already; .* Start it without torchrun\.$"
            ),
            ranks_that_answer_nothing(2),
        ):
            pass
    assert (rank(), world_size()) == (0, 1)
