"""A checkpoint of W ranks for another number of them: NumPy's rows, class by class."""

import numpy as np
import pytest
import torch
from torch import nn

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.hosts.resharding import reshard, rows_by_class, share_of
from insightface_cakd.tasks.consistent_heads import ConsistentHeads

CLASSES, WIDTH = 11, 3
HEADS = {
    f"classifiers.{name}": place
    for place, name in enumerate(("face.weight", "face.bias", "strip.weight", "strip.bias"))
}
PAIRS = [(1, 2), (2, 1), (2, 3), (3, 2), (4, 4), (11, 5)]


def whole(name, *more):
    """Return rows that name their class."""
    return torch.arange(CLASSES * WIDTH, dtype=torch.float32).reshape(CLASSES, WIDTH) + 1000 * len(name) + sum(more)


def saved(ranks, by_class=None):
    """Return what `ranks` ranks save: a head with a bias, frozen rows without optimiser state, a method's state."""
    contents = []
    for rank in range(ranks):
        rows = share_of(CLASSES, ranks, rank)
        head = {
            "strip.weight": whole("weight")[rows],
            "strip.bias": whole("bias")[rows, 0],
            "face.weight": whole("face")[rows],
        }
        method = {"cakd.losses.queue.rows": torch.arange(CLASSES).float(), "cakd.step": torch.tensor(7)}
        state = {
            0: {"momentum_buffer": torch.ones(4)},
            1: {"exp_avg": whole("weight", 1)[rows], "step": torch.tensor(5.0)},
            2: {"exp_avg": whole("bias", 1)[rows, 0], "step": torch.tensor(5.0)},
        }
        groups = [{"lr": 0.1, "params": [0]}, {"lr": 0.1, "params": [1, 2, 3]}]
        content = {"epoch": 2, "world_size": ranks, "state_dict_softmax_fc": head | method}
        content["state_optimizer"] = {"state": state, "param_groups": groups}
        content["by_class"] = by_class or {"strip.weight": 0, "strip.bias": 1, "face.weight": 2}
        contents.append(content)
    return contents


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_rows_and_their_optimiser_state_are_those_of_numpys_split(before, after):
    """arcface_torch gives the first classes % ranks of the ranks one class more, as `array_split` does."""
    contents = saved(before)
    for rank in range(after):
        content = reshard(contents, after, rank)
        rows = np.array_split(np.arange(CLASSES), after)[rank]
        head, state = content["state_dict_softmax_fc"], content["state_optimizer"]["state"]
        np.testing.assert_array_equal(head["strip.weight"], whole("weight").numpy()[rows])
        np.testing.assert_array_equal(head["strip.bias"], whole("bias").numpy()[rows, 0])
        np.testing.assert_array_equal(head["face.weight"], whole("face").numpy()[rows])
        np.testing.assert_array_equal(state[1]["exp_avg"], whole("weight", 1).numpy()[rows])
        np.testing.assert_array_equal(state[2]["exp_avg"], whole("bias", 1).numpy()[rows, 0])
        assert float(state[1]["step"]) == 5
        assert 3 not in state, "frozen rows have no state"
        # What is the same on all ranks stays, whatever its shape.
        assert torch.equal(head["cakd.losses.queue.rows"], torch.arange(CLASSES).float())
        assert torch.equal(state[0]["momentum_buffer"], torch.ones(4))


def test_there_and_back_is_where_it_began():
    there = [reshard(saved(2), 3, rank) for rank in range(3)]
    back = [reshard(there, 2, rank) for rank in range(2)]
    for ours, theirs in zip(back, saved(2), strict=True):
        for key, value in theirs["state_dict_softmax_fc"].items():
            assert torch.equal(ours["state_dict_softmax_fc"][key], value), key


def test_arcface_torchs_head_needs_no_word_about_its_rows():
    contents = saved(2)
    for content in contents:
        del content["by_class"]
        content["state_dict_softmax_fc"] = {"weight": content["state_dict_softmax_fc"]["strip.weight"]}
    assert torch.equal(reshard(contents, 1, 0)["state_dict_softmax_fc"]["weight"], whole("weight"))


def test_another_head_that_does_not_say_it_is_refused():
    contents = saved(2)
    for content in contents:
        del content["by_class"]
    with pytest.raises(RunError, match=r"strip.weight, strip.bias, face.weight, and does not say.*Use as many ranks"):
        reshard(contents, 1, 0)


def test_rows_that_are_not_divided_evenly_are_refused():
    contents = saved(2)[::-1]
    with pytest.raises(RunError, match="have 5, 6 rows of strip.weight; expected 11 classes divided evenly"):
        reshard(contents, 1, 0)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (PartialFC_V2(nn.Identity(), 4, 6), {"weight": 0}),
        (
            ConsistentHeads(4, 6, 1.0, 2.5, both=True),
            HEADS,
        ),
        (nn.Sequential(nn.Linear(4, 6)), {}),
    ],
    ids=["PartialFC_V2", "ConsistentHeads", "no classes"],
)  # fmt: skip
def test_a_head_says_which_of_its_parameters_have_rows_of_classes(head, expected):
    assert rows_by_class(head) == expected
