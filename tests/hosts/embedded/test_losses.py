"""The margin: values by hand, arcface_torch's straight-through gradient, and no combination that silently becomes another."""

import math

import pytest
import torch

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss

COSINES = [[0.5, 0.1, -0.3], [0.2, 0.9, 0.0]]


def logits(margins, labels, threshold=0.0):
    cosines = torch.tensor(COSINES, dtype=torch.float64, requires_grad=True)
    out = CombinedMarginLoss(64, *margins, threshold)(cosines * 1, torch.tensor(labels).view(-1, 1))
    return cosines, out


def test_arcface_adds_the_margin_to_the_targets_angle():
    _, out = logits((1.0, 0.5, 0.0), [0, 1])
    expected = torch.tensor(COSINES, dtype=torch.float64)
    expected[0, 0] = math.cos(math.acos(0.5) + 0.5)
    expected[1, 1] = math.cos(math.acos(0.9) + 0.5)
    torch.testing.assert_close(out, 64 * expected)


def test_cosface_subtracts_it_from_the_targets_cosine():
    _, out = logits((1.0, 0.0, 0.4), [0, 1])
    torch.testing.assert_close(out[0], 64 * torch.tensor([0.1, 0.1, -0.3], dtype=torch.float64))


@pytest.mark.parametrize("margins", [(1.0, 0.5, 0.0), (1.0, 0.0, 0.4), (1.0, 0.0, 0.0)])
def test_the_gradient_is_the_scale_everywhere_as_in_arcface_torch(margins):
    cosines, out = logits(margins, [0, 1])
    out.sum().backward()
    torch.testing.assert_close(cosines.grad, torch.full_like(cosines, 64))


def test_classes_of_other_ranks_get_no_margin():
    _, out = logits((1.0, 0.5, 0.0), [-1, -1])
    torch.testing.assert_close(out, 64 * torch.tensor(COSINES, dtype=torch.float64))


def test_filtered_negatives_become_0_and_targets_stay():
    _, out = logits((1.0, 0.0, 0.0), [0, 0], threshold=0.4)
    torch.testing.assert_close(out / 64, torch.tensor([[0.5, 0.1, -0.3], [0.2, 0.0, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize("margins", [(1.0, 0.3, 0.2), (0.9, 0.4, 0.15), (1.35, 0.0, 0.0), (1.0, -0.1, 0.0)])
def test_margin_lists_that_arcface_torch_silently_runs_as_something_else_are_refused(margins):
    with pytest.raises(RunError, match=r"margin_list .* is not supported; expected \(1, m2, 0\) for ArcFace"):
        CombinedMarginLoss(64, *margins)


@pytest.mark.upstream
def test_equals_arcface_torch(arcface_torch):
    checkout = find_checkout(arcface_torch)
    with checkout.imported():
        theirs = checkout.load("losses").CombinedMarginLoss
    generator = torch.Generator().manual_seed(0)
    for margins in ((1.0, 0.5, 0.0), (1.0, 0.0, 0.4)):
        cosines = torch.rand(8, 20, generator=generator) * 1.9 - 0.95
        labels = torch.randint(-1, 20, (8, 1), generator=generator)
        expected = theirs(64, *margins)(cosines.clone(), labels)
        ours = CombinedMarginLoss(64, *margins)(cosines.clone(), labels)
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-4)
