"""AdaDistill's geometry margin: from its equation, beside either margin, and what it refuses."""

import math

import numpy as np
import pytest
import torch

from insightface_cakd.distill.sources.centres.adaface import AdaFaceMargin
from insightface_cakd.distill.sources.centres.geometry import GeometryMargin
from insightface_cakd.distill.sources.centres.margins import scale_of
from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.recipe import load_recipe, parse_recipe
from tests.centre_oracles import W3, S, T, Y, cosine, geometry_loss, moved_centres
from tests.distill.centres.small import rule_of, seen, small_head
from tests.hosts.both_hosts import double_precision


@pytest.mark.parametrize("weight", [1.0, 3.0])
@pytest.mark.parametrize("labels", [Y, [0, 0, 0, 0], [2, 1, 2, 1]], ids=str)
def test_equals_the_equation(labels, weight):
    with double_precision():
        rule = rule_of("average", 3, geometry=weight)
        head, _ = small_head(rule, W3.shape, torch.tensor(W3))
        loss = head(seen(torch.tensor(S), torch.tensor(T)), torch.tensor(labels))
    centres = moved_centres(S, T, labels, W3)
    assert float(loss) == pytest.approx(geometry_loss(S, T, labels, centres, 0.45, 4, weight), rel=1e-10)
    assert geometry_loss(S, T, labels, centres, 0.45, 4, 0) < float(loss), "some students are further than the teacher"


def test_a_student_nearer_than_its_teacher_has_the_plain_margin():
    plain, further = CombinedMarginLoss(4.0, 1.0, 0.0, 0.35), CombinedMarginLoss(4.0, 1.0, 0.0, 0.35)
    margin = GeometryMargin(further, 4.0, 1.0)
    cosines, labels = torch.tensor([[0.9, 0.1], [0.2, 0.5], [0.3, 0.4]]), torch.tensor([[0], [1], [-1]])
    margin.near = torch.tensor([0.8, 0.7, 0.9])
    found, expected = margin(cosines.clone(), labels), plain(cosines.clone(), labels)
    assert torch.equal(found[0], expected[0])
    assert float(found[1, 1]) == pytest.approx(float(expected[1, 1]) - 4 * 0.2 * 0.7, abs=1e-6)
    assert torch.equal(found[2], expected[2]), "the class is another rank's"


def test_it_goes_around_adafaces_margin():
    """Of the shipped recipe: AdaFace's logit, less s times what lacks."""
    margin = AdaFaceMargin(CombinedMarginLoss(4.0, 1.0, 0.5, 0.0), 0.4)
    around = GeometryMargin(margin, scale_of(margin, "head.geometry"), 1.0)
    margin.standing, around.near = torch.tensor([0.0]), torch.tensor([0.9])
    found = around(torch.tensor([[math.cos(1.2), 0.1]]), torch.tensor([[0]]))
    own = math.cos(1.2) - 0.4 - (0.9 - math.cos(1.2)) * 0.9
    assert found[0].tolist() == pytest.approx([4 * own, 0.4], abs=1e-6)


def test_it_changes_no_gradient_of_the_other_margin():
    cosines = torch.tensor([[0.2, 0.5], [0.3, 0.1]], dtype=torch.float64, requires_grad=True)
    margin = GeometryMargin(CombinedMarginLoss(4.0, 1.0, 0.45, 0.0), 4.0, 1.0)
    margin.near = torch.tensor([0.9, 0.8], dtype=torch.float64)
    (found,) = torch.autograd.grad(margin(cosines * 1, torch.tensor([[1], [0]])).sum(), cosines)
    (expected,) = torch.autograd.grad(
        CombinedMarginLoss(4.0, 1.0, 0.45, 0.0)(cosines * 1, torch.tensor([[1], [0]])).sum(), cosines
    )
    assert torch.equal(found, expected)


def test_a_teacher_on_its_centre_by_hand():
    """A class not seen yet: the centre becomes the teacher's embedding, so c_T = 1 and what lacks is 1 - c_S."""
    start = np.array([[0.0, 0.0, 0.01], [0.01, 0.0, 0.0]])
    teacher, student = np.array([[2.0, 0.0, 0.0]]), np.array([[0.6, 0.8, 0.0]])
    with double_precision():
        head, _ = small_head(rule_of("average", 3, geometry=1.0), start.shape, torch.tensor(start), scale=1)
        loss = float(head(seen(torch.tensor(student), torch.tensor(teacher)), torch.tensor([0])))
    own = math.cos(math.acos(cosine(student[0], teacher[0])) + 0.45) - (1 - 0.6)
    other = cosine(student[0], start[1])
    assert loss == pytest.approx(math.log(1 + math.exp(other - own)), abs=1e-5)


def test_in_eval_mode_it_counts_and_no_centre_moves():
    head, _ = small_head(rule_of("average", 3, geometry=1.0), W3.shape, torch.tensor(W3))
    before = head.weight.clone()
    loss = head.eval()(seen(torch.tensor(S).float(), torch.tensor(T).float()), torch.tensor(Y))
    assert torch.equal(head.weight, before)
    assert float(loss) == pytest.approx(geometry_loss(S, T, Y, W3, 0.45, 4, 1), rel=1e-5)


def test_what_does_not_fit_is_refused():
    content = {"teacher": {"network": "toy"}, "head": {"centres": "learnt", "margin": "adaface", "geometry": 1.0}}
    with pytest.raises(RecipeError, match=r"head\.geometry: is read with centres: average only"):
        parse_recipe(content, "recipe")
    content["head"] = {"centres": "average", "geometry": 0.0}
    with pytest.raises(RecipeError, match=r"head\.geometry"):
        parse_recipe(content, "recipe")
    head, _ = small_head(rule_of("average", 3), W3.shape)
    head.margin_softmax = torch.nn.Identity()
    with pytest.raises(RunError, match=r"head\.geometry takes the scale .* Identity has no number `s`"):
        rule_of("average", 3, geometry=1.0).begin(head, 3)


def test_the_shipped_recipe_has_the_sources_weight():
    assert load_recipe("adadistill_geometry").head.geometry == 1
