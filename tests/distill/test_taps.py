"""Taps: checked when they are made, alive only inside their block, heard exactly once."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from insightface_cakd.distill.taps import Taps
from insightface_cakd.errors import TapError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Linear(3, 3)
        self.layer2 = nn.Linear(3, 3)
        self.twice = nn.Identity()
        self.never = nn.Identity()
        self.pair = Pair()

    def forward(self, rows):
        rows = self.layer1(rows)
        rows = self.layer2(rows)
        rows += 1  # overwrites layer2's output
        return self.pair(self.twice(self.twice(rows)))[0]


class Pair(nn.Module):
    def forward(self, rows):
        return rows, rows


def test_collects_the_outputs_of_the_forward_that_just_ran():
    net, rows = Net(), torch.rand(2, 3)
    with Taps(net, ["layer1"]) as taps:
        net(rows)
        collected = taps.collect()
    torch.testing.assert_close(collected["layer1"], net.layer1(rows))


def test_hooks_live_only_inside_the_block_even_if_it_raises():
    net = Net()
    taps = Taps(net, ["layer1"])

    def fails_inside():
        with taps:
            assert net.layer1._forward_hooks
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails_inside()
    assert not net.layer1._forward_hooks


def test_a_second_forward_starts_afresh():
    net = Net()
    taps = Taps(net, ["layer1"])
    for _ in range(2):
        with taps:
            net(torch.rand(2, 3))
            assert list(taps.collect()) == ["layer1"]


def test_a_path_that_does_not_exist_names_the_nearest():
    with pytest.raises(TapError, match=r"tap 'layer3': module not found in Net; .*Did you mean 'layer\d'\?"):
        Taps(Net(), ["layer3"])


@pytest.mark.parametrize(("path", "times"), [("never", 0), ("twice", 2)])
def test_a_tap_that_does_not_fire_exactly_once_is_an_error(path, times):
    net = Net()
    with Taps(net, [path]) as taps, torch.no_grad():
        net.layer2.register_forward_hook(lambda *_: None)
        net(torch.rand(2, 3))
        with pytest.raises(TapError, match=f"tap '{path}': fired {times} times"):
            taps.collect()


def test_an_output_that_is_overwritten_in_place_is_an_error():
    net = Net()
    with Taps(net, ["layer2"]) as taps, torch.no_grad():
        net(torch.rand(2, 3))
        with pytest.raises(TapError, match="overwritten in place"):
            taps.collect()


def test_an_output_that_is_no_tensor_is_an_error():
    net = Net()
    with pytest.raises(TapError, match="Pair gives a tuple; expected one tensor"), Taps(net, ["pair"]):
        net(torch.rand(2, 3))


def test_a_tap_inside_a_checkpointed_block_keeps_its_gradient():
    inner = nn.Linear(3, 3)
    block = nn.Sequential(inner, nn.Tanh())
    net = nn.Sequential(block)
    rows = torch.rand(2, 3)
    with Taps(net, ["0.0"]) as taps:
        checkpoint(block, rows, use_reentrant=False)
        collected = taps.collect()["0.0"]
    collected.sum().backward()
    assert inner.weight.grad.abs().max() > 0
