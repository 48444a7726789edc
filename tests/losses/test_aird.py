"""AIRD-style contrast of pair differences: known values, which pairs, pairs without a direction."""

import math

import pytest
import torch

from insightface_cakd.losses import LOSSES
from insightface_cakd.losses.aird import _chosen_pairs
from tests import pair_oracles
from tests.losses.test_contract import fixture

LOSS = LOSSES["pair_contrast"]


@pytest.mark.parametrize(("temperature", "value"), [(0.1, 1.498145741), (1, 1.600292955)])
def test_known_values(temperature, value):
    assert float(LOSS(temperature=temperature)(*fixture("pair_contrast"))) == pytest.approx(value, abs=5e-10)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 13, 64])
def test_a_batch_has_each_pair_once_and_in_order(count):
    first, second = _chosen_pairs(count, 10_000, torch.device("cpu"))
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == {(i, j) for i in range(count) for j in range(i + 1, count)}
    assert len(first) == count * (count - 1) // 2


def test_of_too_many_pairs_each_image_is_in_equally_many():
    first, second = _chosen_pairs(128, 2048, torch.device("cpu"))
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == 2048
    assert torch.cat([first, second]).bincount().unique().tolist() == [2 * 2048 // 128]


def test_a_limit_takes_the_same_pairs_of_both_sides():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(6, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    first, second = _chosen_pairs(6, 6, torch.device("cpu"))

    def directions(rows):
        unit = torch.nn.functional.normalize(rows)
        return torch.nn.functional.normalize(unit[first] - unit[second])

    logits = directions(student) @ directions(teacher).T / 0.1
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(6))
    assert float(LOSS(pairs=6)(student, teacher)) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("side", [0, 1])
def test_a_pair_of_equal_images_is_left_out(side):
    generator = torch.Generator().manual_seed(0)
    pair = [torch.randn(5, 4, dtype=torch.float64, generator=generator) for _ in range(2)]
    pair[side][3] = 2 * pair[side][1]
    student, teacher = pair[0].requires_grad_(), pair[1]
    loss = LOSS()(student, teacher)
    loss.backward()
    oracle = pair_oracles.pair_contrast(student.detach().numpy(), teacher.numpy())
    assert float(loss.detach()) == pytest.approx(oracle, rel=1e-12)
    assert student.grad.isfinite().all()


def test_one_image_or_equal_images_only_give_zero_with_zero_gradient():
    for rows in (1, 4):
        student = torch.ones(rows, 3, requires_grad=True)
        loss = LOSS()(student, torch.randn(rows, 3))
        loss.backward()
        assert float(loss.detach()) == 0
        assert float(student.grad.abs().max()) == 0


def test_its_value_lies_below_that_of_a_student_that_knows_nothing_where_it_equals_the_teacher():
    teacher = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    chance = math.log(16 * 15 / 2)
    assert float(LOSS()(teacher, teacher)) < 0.2 * chance
