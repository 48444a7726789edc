"""Operations, bytes moved and bytes sent of single operators, by hand."""

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from insightface_cakd.experiments.cost.counts.operations import Operations, ring_all_reduce
from insightface_cakd.experiments.cost.counts.parts import Parts
from tests.ranks import run_ranks

FLOAT = 4


def counted(run, ranks=1):
    with Operations(Parts(), ranks) as operations:
        run()
    return operations.done


def only(run, name):
    (found,) = [one for one in counted(run) if one.name == name]
    return found


def test_a_product_of_matrices():
    left, right = torch.ones(2, 3), torch.ones(3, 5)
    found = only(lambda: left @ right, "mm")
    assert (found.flops, found.moved, found.kind) == (2 * 2 * 3 * 5, (6 + 15 + 10) * FLOAT, "matrices")


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_convolution_and_its_backward_divide_by_the_groups(groups):
    """6 images, 4 to 8 channels, kernels of 3 x 3 at 5 x 5 places; backward to weights and to images cost as much as forward each."""
    layer, images = nn.Conv2d(4, 8, 3, padding=1, groups=groups, bias=False), torch.ones(6, 4, 5, 5, requires_grad=True)
    forward = 2 * 6 * 25 * 8 * (4 // groups) * 9
    assert only(lambda: layer(images), "convolution").flops == forward
    answer = layer(images).sum()
    found = only(answer.backward, "convolution_backward")
    assert found.flops == 2 * forward
    assert found.kind == ("grouped convolution" if groups > 1 else "convolution")
    first = layer(images.detach()).sum()
    assert only(first.backward, "convolution_backward").flops == forward


def test_attention_has_two_products_forward_and_five_backward():
    """2 images, 3 heads, 7 tokens of width 4; backward computes the first product again."""
    parts = [torch.ones(2, 3, 7, 4, requires_grad=True) for _ in range(3)]
    product = 2 * 2 * 3 * 7 * 7 * 4
    answer = scaled_dot_product_attention(*parts).sum()
    run = counted(lambda: scaled_dot_product_attention(*parts)) + counted(answer.backward)
    assert [one.flops for one in run if one.kind == "attention"] == [2 * product, 5 * product]


def test_views_and_empty_tensors_move_nothing_and_an_expanded_one_what_it_has():
    rows = torch.ones(10, 1)
    assert not counted(lambda: (rows.view(1, 10), rows.t(), rows.expand(10, 99), torch.empty(5), rows.detach()))
    assert only(lambda: rows.expand(10, 99) + 1, "add").moved == (10 + 990) * FLOAT


def test_an_operator_in_place_reads_and_writes():
    rows = torch.ones(100)
    assert only(lambda: rows.mul_(2), "mul_").moved == 200 * FLOAT


def test_chosen_rows_are_read_and_not_all():
    rows, chosen = torch.ones(1000, 8), torch.tensor([1, 5])
    assert only(lambda: rows[chosen], "index").moved == 2 * 8 + 2 * 16 * FLOAT
    assert only(lambda: rows.index_put_((chosen,), torch.ones(2, 8)), "index_put_").moved == 2 * 8 + 3 * 16 * FLOAT


def collectives():
    """Send some tensors, and return the bytes."""
    from insightface_cakd.distill.gather import gather_constant, sum_over_ranks

    return [
        sum(one.sent for one in counted(lambda: gather_constant(torch.ones(4, 8)), 2)),
        sum(one.sent for one in counted(lambda: sum_over_ranks(torch.ones(64)), 2)),
    ]


def test_bytes_sent_on_two_real_ranks():
    """A gather sends 32 numbers to one other, a sum half of 64 numbers twice."""
    assert run_ranks(collectives, 2) == [[32 * FLOAT, 64 * FLOAT]] * 2


def test_a_ring_sends_nothing_alone_and_nearly_twice_with_many():
    assert [ring_all_reduce(800, ranks) for ranks in (1, 2, 8)] == [0, 800, 1400]
