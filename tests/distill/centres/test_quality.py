"""MarginDistillation: the value by hand, the margin's range, and the host's ArcFace where all margins are equal."""

import importlib.util

import pytest
import torch

from insightface_cakd.distill.sources.centres.quality import QualityMargin, quality_margins
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from tests.centre_oracles import W3, S, T, Y, arc_loss, cosine, margins_by_quality
from tests.distill.centres.small import CLASSES, rule_of, seen, small_head, toy_run
from tests.hosts.both_hosts import double_precision
from tests.toy import toy_batch

NEAR = [0.987730, 0.921443, 0.979769, 0.656423]
MARGINS = [0.5, 0.479867, 0.497582, 0.399373]


def loss_of(students, teachers, labels, low=0.2, high=0.5):
    """Return the head's loss in float64, and the logged mean margin."""
    with double_precision():
        head, distillation = small_head(rule_of("quality", 3, torch.tensor(W3), m_min=low, m_max=high), (3, 3))
        loss = head(seen(torch.tensor(students), torch.tensor(teachers)), torch.tensor(labels))
    return float(loss), float(distillation.step.raw["head.margin"])


def test_the_values_computed_by_hand():
    loss, mean = loss_of(S, T, Y)
    assert loss == pytest.approx(0.568451542, abs=5e-10)
    assert mean == pytest.approx(sum(MARGINS) / 4, abs=5e-7)
    near = [cosine(teacher, W3[label]) for teacher, label in zip(T, Y, strict=True)]
    assert near == pytest.approx(NEAR, abs=5e-7)
    found = quality_margins(torch.tensor(near, dtype=torch.float64), 0.2, 0.5)
    assert found.tolist() == pytest.approx(MARGINS, abs=5e-7)
    assert margins_by_quality(T, Y, W3) == pytest.approx(MARGINS, abs=5e-7)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.3, 0.3), (0.1, 0.7)])
@pytest.mark.parametrize("labels", [Y, [1, 2, 0, 2], [2, 2, 2, 2]], ids=str)
def test_equals_the_equation_with_other_ranges_and_labels(low, high, labels):
    margins = margins_by_quality(T, labels, W3, low, high)
    loss, mean = loss_of(S, T, labels, low, high)
    assert loss == pytest.approx(arc_loss(S, labels, W3, margins, 4), rel=1e-12)
    assert mean == pytest.approx(sum(margins) / 4, rel=1e-12)


def test_a_batch_that_points_away_from_its_centres_gets_the_smallest_margin():
    """D_max <= 0: the formula would divide by nothing, or turn the order round."""
    loss, mean = loss_of(S, -T, Y)
    assert mean == pytest.approx(0.2)
    assert loss == pytest.approx(arc_loss(S, Y, W3, [0.2] * 4, 4), rel=1e-12)
    for near in ([-0.5, -0.1], [0.0, 0.0], [0.0, -1.0]):
        assert quality_margins(torch.tensor(near), 0.2, 0.5).tolist() == pytest.approx([0.2, 0.2])


def test_a_single_image_away_from_its_centre_stays_within_the_range():
    assert quality_margins(torch.tensor([0.5, -0.5]), 0.2, 0.5).tolist() == pytest.approx([0.5, 0.2])


def both_margins(host, threshold, labels):
    """Return logits and gradients of a host's ArcFace and of ours with the same margin for all."""
    generator = torch.Generator().manual_seed(2)
    cosines = (torch.rand(5, 7, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    theirs = host(64.0, 1.0, 0.5, 0.0, threshold)
    ours = QualityMargin(host(64.0, 1.0, 0.1, 0.0, threshold))
    found = []
    for margin in (theirs, ours):
        if margin is ours:
            ours.margins = torch.full((5,), 0.5, dtype=torch.float64)
        logits = margin(cosines.clamp(-1, 1), labels)
        (gradient,) = torch.autograd.grad(logits.sin().sum(), cosines)
        found.append((logits.detach(), gradient))
    return found


def check_against(host, threshold):
    labels = torch.tensor([[3], [-1], [0], [6], [-1]])
    theirs, ours = both_margins(host, threshold, labels)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-9, atol=1e-8)
    assert labels.tolist() == [[3], [-1], [0], [6], [-1]]


@pytest.mark.parametrize("threshold", [0, 0.3])
def test_with_equal_margins_it_is_the_hosts_arcface_filter_included(threshold):
    check_against(CombinedMarginLoss, threshold)


@pytest.mark.upstream
@pytest.mark.parametrize("threshold", [0, 0.3])
def test_with_equal_margins_it_is_arcface_torchs(threshold, arcface_torch):
    spec = importlib.util.spec_from_file_location("their_losses", arcface_torch / "losses.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    check_against(module.CombinedMarginLoss, threshold)


def test_the_gradient_is_finite_on_and_opposite_the_centre():
    margin = QualityMargin(CombinedMarginLoss(64.0, 1.0, 0.5, 0.0))
    margin.margins = torch.tensor([0.5, 0.5])
    cosines = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    margin(cosines, torch.tensor([[0], [0]])).sum().backward()
    assert torch.equal(cosines.grad, torch.full((2, 2), 64.0))


def test_margins_are_of_one_batch_only():
    margin = QualityMargin(CombinedMarginLoss(64.0, 1.0, 0.5, 0.0))
    margin.margins = torch.tensor([0.5])
    margin(torch.zeros(1, 2), torch.tensor([[0]]))
    with pytest.raises(RunError, match=r"head\.margin: quality has no margins for this batch"):
        margin(torch.zeros(1, 2), torch.tensor([[0]]))


def test_a_margin_without_a_scale_is_refused():
    with pytest.raises(RunError, match=r"head\.margin: quality takes the scale .* and Identity has no number `s`"):
        QualityMargin(torch.nn.Identity())


def test_the_largest_margin_is_the_best_images(tmp_path):
    student, head, distillation = toy_run("quality", tmp_path)
    images, labels = toy_batch(CLASSES)
    head(student(images), labels).backward()
    assert 0.2 <= float(distillation.step.raw["head.margin"]) <= 0.5
