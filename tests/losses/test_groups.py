"""Primary groups: how many reductions they take, and what counts as equal."""

from typing import get_args

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from insightface_cakd.distill.gather import ShardedClasses
from insightface_cakd.losses.classes import WHOLE_ROWS
from insightface_cakd.losses.gkd import GroupedLoss, Grouping
from insightface_cakd.runtime.ranks import rank
from tests.ranks import run_ranks


class Reductions(TorchDispatchMode):
    """Counts what is sent between ranks: each collective of torch passes here."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.namespace == "c10d"
        return func(*args, **(kwargs or {}))


def reductions():
    """Return by grouping how many collectives a step of the loss takes."""
    generator = torch.Generator().manual_seed(rank())
    student, teacher = (torch.randn(6, 40, generator=generator) for _ in range(2))
    columns = torch.where(torch.arange(6) % 2 == rank(), torch.arange(6), -1)
    found = {}
    for grouping in get_args(Grouping):
        student.requires_grad_().grad = None
        with Reductions() as seen:
            GroupedLoss(grouping)(student, teacher, columns, classes=ShardedClasses()).backward()
        assert student.grad.abs().sum() > 0
        found[grouping] = seen.count
    return found


def test_a_step_takes_at_most_four_reductions_whatever_the_grouping():
    for found in run_ranks(reductions, 2):
        assert set(found) == set(get_args(Grouping))
        assert all(1 <= count <= 4 for count in found.values()), found


def members(loss, student, own):
    return loss.primary_group(student, own, WHOLE_ROWS).members(student, slice(0, student.shape[1])).tolist()


def test_the_adaptive_grouping_tells_logits_apart_by_15_bits_of_the_mantissa():
    loss, own = GroupedLoss("adaptive", step=1, share=0.4), torch.tensor([[0]])
    assert members(loss, torch.tensor([[1.0, 1.0, 1 + 2**-14, -9.0]]), own) == [[1, 0, 1, 0]]
    assert members(loss, torch.tensor([[1.0, 1.0, 1 + 2**-16, -9.0]]), own) == [[1, 1, 0, 0]]


@pytest.mark.parametrize("grouping", [{"grouping": "fixed", "size": 2}, {"share": 0.4, "temperature": 1e9}])
def test_other_groupings_tell_apart_what_float32_does(grouping):
    student = torch.tensor([[1.0, 1.0, 1 + 2**-23, -9.0]])
    assert members(GroupedLoss(**grouping), student, torch.tensor([[0]])) == [[1, 0, 1, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_of_both_signs_are_equal(dtype):
    student = torch.tensor([[-0.0, 0.0, -0.0, -1.0], [-1.0, 0.0, -0.0, 5.0]], dtype=dtype)
    inside = members(GroupedLoss("fixed", size=2), student, torch.tensor([[3], [3]]))
    assert inside == [[1, 0, 0, 1], [0, 1, 0, 1]]
