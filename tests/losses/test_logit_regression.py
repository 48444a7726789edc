"""Logits as targets, on shards and in chunks."""

import pytest
import torch

from insightface_cakd.distill.gather import ShardedClasses
from insightface_cakd.losses.logit_regression import LogitRegressionLoss
from insightface_cakd.runtime.ranks import rank
from tests.ranks import run_ranks

CLASSES = 7


def logits(rows=5, classes=CLASSES):
    generator = torch.Generator().manual_seed(2)
    return tuple(20 * torch.randn(rows, classes, generator=generator, dtype=torch.float64) for _ in range(2))


def sharded(bounds):
    """Return the loss and the gradient of this rank's columns."""
    student, teacher = (rows[:, bounds[rank()] : bounds[rank() + 1]] for rows in logits())
    student = student.clone().requires_grad_()
    loss = LogitRegressionLoss()(student, teacher, classes=ShardedClasses())
    loss.backward()
    return loss.detach(), student.grad


@pytest.mark.parametrize("bounds", [(0, 4, 7), pytest.param((0, 3, 5, 7), marks=pytest.mark.slow)])
def test_shards_of_unequal_size_give_the_dense_value_and_gradient(bounds):
    student, teacher = logits()
    results = run_ranks(sharded, len(bounds) - 1, bounds)
    expected = (student - teacher).square().sum() / 2 / len(student)
    for loss, _ in results:
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    gradient = torch.cat([columns for _, columns in results], dim=1)
    torch.testing.assert_close(gradient, (student - teacher) / len(student), rtol=1e-12, atol=0)


def test_large_matrices_go_in_chunks_and_give_the_same(monkeypatch):
    found = []
    for entries in (2**15, 19):
        monkeypatch.setattr("insightface_cakd.losses.blocks.CACHED", entries)
        student, teacher = logits(19, 50)
        student.requires_grad_()
        loss = LogitRegressionLoss()(student, teacher)
        (3 * loss).backward()
        found.append((loss.detach(), student.grad))
    torch.testing.assert_close(*found, rtol=1e-12, atol=0)
