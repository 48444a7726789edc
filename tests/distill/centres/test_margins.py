"""The gradient of an arc margin: the host's straight-through one, and that of the equation."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from insightface_cakd.distill.sources.centres.margins import ArcGradient, with_arc_slope
from insightface_cakd.distill.sources.centres.quality import quality_margins
from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.recipe import parse_recipe
from tests.centre_oracles import W3, S, T, Y
from tests.distill.centres.small import rule_of, seen, small_head
from tests.hosts.both_hosts import double_precision


def run(kind: str, gradient: str) -> tuple[float, Tensor, Tensor]:
    """Return the loss of a head, its gradient for the students, and its centres; all in float64."""
    with double_precision():
        centres = None if kind in ("average", "geometry") else torch.tensor(W3)
        head, _ = small_head(rule_of(kind, 3, centres, gradient=gradient), (3, 3), torch.tensor(W3))
        students = torch.tensor(S, requires_grad=True)
        loss = head(seen(students, torch.tensor(T)), torch.tensor(Y))
        loss.backward()
    return float(loss), students.grad, head.weight.detach()


def written_out(students: Tensor, centres: Tensor, margins: Tensor, scale: float = 4) -> Tensor:
    """Return the loss that autograd differentiates through the arc."""
    cosines = normalize(students) @ normalize(centres).T
    own = torch.nn.functional.one_hot(torch.tensor(Y), 3).bool()
    return cross_entropy(scale * torch.where(own, (cosines.acos() + margins[:, None]).cos(), cosines), torch.tensor(Y))


@pytest.mark.parametrize("kind", ["frozen", "quality", "average"])
def test_the_gradient_is_that_of_the_equation_if_asked_for(kind):
    loss, found, centres = run(kind, "arc")
    students = torch.tensor(S, dtype=torch.float64, requires_grad=True)
    near = torch.nn.functional.cosine_similarity(torch.tensor(T).double(), centres[Y])
    margins = quality_margins(near, 0.2, 0.5) if kind == "quality" else torch.full((len(S),), 0.45, dtype=torch.float64)
    expected = written_out(students, centres, margins)
    expected.backward()
    assert loss == pytest.approx(float(expected), rel=1e-12)
    assert found.numpy() == pytest.approx(students.grad.numpy(), rel=1e-7)


@pytest.mark.parametrize("kind", ["frozen", "quality", "average", "geometry"])
def test_the_value_is_the_hosts_and_the_gradient_another(kind):
    (plain, straight, _), (arc, exact, _) = run(kind, "host"), run(kind, "arc")
    assert plain == arc
    assert not torch.allclose(straight, exact, rtol=1e-2)


def test_the_slope_is_finite_at_the_centre_and_negative_beyond_pi():
    cosines = torch.tensor([[1.0, 0.3], [-0.99, 0.2], [0.5, 0.4]], requires_grad=True)
    labels = torch.tensor([[0], [0], [-1]])
    moved = with_arc_slope(cosines, labels, 0.5)
    assert torch.equal(moved, cosines)
    moved.sum().backward()
    assert cosines.grad[0, 0] == pytest.approx(math.sin(math.acos(0.999) + 0.5) / math.sin(math.acos(0.999)), rel=1e-4)
    assert cosines.grad[1, 0] < 0
    assert cosines.grad[0, 1] == cosines.grad[1, 1] == 1
    assert cosines.grad[2].tolist() == [1, 1]


@pytest.mark.parametrize("margin", [(1.0, 0.0, 0.35), (1.0, 0.0, 0.0)], ids=str)
def test_margins_whose_gradient_is_the_equations_already_are_refused(margin):
    with pytest.raises(RunError, match=r"head\.gradient: arc .* expected an arc margin"):
        ArcGradient(CombinedMarginLoss(64, *margin))


def test_adafaces_margin_has_its_gradient_already():
    head = {"centres": "average", "margin": "adaface", "gradient": "arc"}
    with pytest.raises(RecipeError, match=r"head\.gradient: arc with margin: adaface"):
        parse_recipe({"teacher": {"network": "vit_tiny"}, "head": head}, "recipe")


@pytest.mark.upstream
def test_arcface_torchs_own_margin_takes_it_too(arcface_torch):
    with find_checkout(arcface_torch).imported():
        from losses import CombinedMarginLoss as Theirs

        cosines = torch.tensor([[0.6, 0.3], [-0.2, 0.2]], dtype=torch.float64)
        labels = torch.tensor([[0], [1]])
        results = []
        for margin in (Theirs, CombinedMarginLoss):
            leaf = cosines.clone().requires_grad_()
            logits = ArcGradient(margin(64, 1.0, 0.45, 0.0))(leaf, labels)
            logits.sum().backward()
            results.append((logits.detach(), leaf.grad))
    for theirs, ours in zip(*results, strict=True):
        assert torch.allclose(theirs, ours)
