"""Peak memory of a call: by hand, and against torch's own record of every block."""

from itertools import accumulate

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from insightface_cakd.experiments.cost.memory import LiveTensors, peak_memory
from insightface_cakd.experiments.cost.steps import timed_runs
from insightface_cakd.recipe import load_recipe

CPU = torch.device("cpu")
FLOAT = 4


def test_what_is_freed_makes_room_and_views_cost_nothing():
    old = torch.ones(1000)

    def run():
        first = old * 2  # 1000
        second = first[:500].view(5, 100)  # a view
        third = torch.cat([first, first])  # 2000 beside it
        del first, second
        return third + 1  # 2000 beside 2000: 4000

    assert peak_memory(run, CPU) == 4000 * FLOAT


def test_what_was_there_before_does_not_count_and_in_place_operators_cost_nothing():
    weight = torch.ones(1000)
    assert peak_memory(lambda: weight.mul_(2).add_(1).t(), CPU) == 0


def test_activations_kept_for_the_backward_count_and_gradients_too():
    """y = relu(relu(w + 1)): w + 1 is freed, the two results are kept; backward makes one gradient after the other."""
    weight = nn.Parameter(torch.ones(1000))

    def forward():
        return (weight + 1).relu().relu()

    assert peak_memory(forward, CPU) == 2 * 1000 * FLOAT
    with torch.no_grad():
        assert peak_memory(forward, CPU) == 2 * 1000 * FLOAT
    assert peak_memory(lambda: forward().sum().backward(), CPU) >= 3 * 1000 * FLOAT


def test_gradients_are_told_from_activations_until_they_are_freed():
    """y = w v at v = 2 of 1000: the gradient of w stays; the peak is at the end, beside two temporary tensors at most."""
    weight = nn.Parameter(torch.ones(1000))
    with LiveTensors() as live, live.watching([weight]):
        (weight * 2).sum().backward()
        assert live.gradients == 1000 * FLOAT
        kept = weight * 3
        assert live.peak >= live.gradients_at_peak + kept.numel() * FLOAT
        weight.grad = None
        assert live.gradients == 0
    assert live.gradients_at_peak == 1000 * FLOAT


@pytest.mark.parametrize("recipe", ["urfm", "cakd"])
def test_it_equals_the_blocks_that_the_allocator_gave_out(recipe, monkeypatch):
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")
    for run in timed_runs(load_recipe(recipe), "cnn_tiny", 4, CPU, "fp32").values():
        run()  # momentum is made in the first step
        assert peak_memory(run, CPU) == pytest.approx(highest_of_the_profiler(run), rel=0.02)


def highest_of_the_profiler(run):
    """Return the highest running sum of the blocks that torch's allocator reports."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))
