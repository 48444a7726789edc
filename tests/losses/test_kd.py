"""Soft targets, and what only they can get wrong."""

import pytest
import torch

from insightface_cakd.distill.gather import ShardedClasses
from insightface_cakd.errors import RecipeError
from insightface_cakd.losses.kd import SoftTargetLoss
from insightface_cakd.runtime.ranks import rank
from tests.ranks import run_ranks

CLASSES = 7


def logits():
    generator = torch.Generator().manual_seed(2)
    return tuple(20 * torch.randn(5, CLASSES, generator=generator, dtype=torch.float64) for _ in range(2))


def sharded(bounds):
    """Return the loss and the gradient of this rank's columns."""
    student, teacher = (rows[:, bounds[rank()] : bounds[rank() + 1]] for rows in logits())
    student = student.clone().requires_grad_()
    loss = SoftTargetLoss()(student, teacher, classes=ShardedClasses())
    loss.backward()
    return loss.detach(), student.grad


@pytest.mark.parametrize("bounds", [(0, 4, 7), pytest.param((0, 3, 5, 7), marks=pytest.mark.slow)])
def test_shards_of_unequal_size_give_the_dense_value_and_gradient(bounds):
    student, teacher = logits()
    student.requires_grad_()
    expected = SoftTargetLoss()(student, teacher)
    expected.backward()
    results = run_ranks(sharded, len(bounds) - 1, bounds)
    for loss, _ in results:
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.cat([gradient for _, gradient in results], dim=1), student.grad, rtol=1e-10, atol=1e-14
    )


def test_the_gradient_is_t_times_the_difference_of_probabilities_over_n():
    student, teacher = logits()
    student.requires_grad_()
    SoftTargetLoss(temperature=2.5)(student, teacher).backward()
    difference = (student.detach() / 2.5).softmax(1) - (teacher / 2.5).softmax(1)
    torch.testing.assert_close(student.grad, 2.5 * difference / len(student))


@pytest.mark.parametrize(("temperature", "value"), [(1.0, 0.087135688), (2.5, 0.905540561), (4.0, 1.310118316)])
def test_known_values_at_other_temperatures(temperature, value):
    student = torch.tensor([[8, 2, 1, 0, -1], [1, 0, 3, 5, 2.0]], dtype=torch.float64)
    teacher = torch.tensor([[10, 4, 0, 1, -2], [0, 1, 2, 9, 3.0]], dtype=torch.float64)
    assert float(SoftTargetLoss(temperature)(student, teacher)) == pytest.approx(value, abs=5e-10)


def test_a_target_far_above_the_rest_stays_finite():
    student = torch.tensor([[64.0, -64.0, -64.0]], requires_grad=True)
    loss = SoftTargetLoss(temperature=0.5)(student, torch.tensor([[-64.0, 64.0, -64.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("temperature", [0, -1.0, float("inf"), "warm"])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(RecipeError, match="temperature is .*expected a positive number"):
        SoftTargetLoss(temperature)
