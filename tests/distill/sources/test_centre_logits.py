"""Logits of any activation against the teacher's class centres."""

import numpy as np
import pytest
import torch

from insightface_cakd.distill.sources import Context, Seen, Setting
from insightface_cakd.distill.sources.centre_logits import CentreLogits
from insightface_cakd.errors import RecipeError, ShapeError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.teachers import Teacher

CLASSES, WIDTH = 7, 4


@pytest.fixture
def centres(tmp_path):
    torch.manual_seed(0)
    torch.save({"weight": torch.randn(CLASSES, WIDTH)}, tmp_path / "centres.pt")
    return tmp_path / "centres.pt"


def source(centres, **term):
    content = {
        "teacher": {"network": "toy", "centres": [str(centres)] if centres else []},
        "losses": [{"loss": "kd", "reads": "centre_logits", "weight": 1, **term}],
    }
    recipe = parse_recipe(content, "recipe")
    teacher = Teacher(torch.nn.Identity(), "toy", WIDTH, "cpu")
    return CentreLogits(Setting(recipe, {"teacher": teacher}, recipe.terms)), recipe.terms[0]


def context(student=WIDTH, teacher=WIDTH, rows=3, **taps):
    return Context(
        torch.zeros(rows, 3, 8, 8),
        Seen(torch.randn(rows, student, requires_grad=True), taps),
        {"teacher": Seen(torch.randn(rows, teacher))},
    )


def oracle(rows, centres):
    weights = torch.load(centres, weights_only=True)["weight"].double().numpy()
    rows = rows.detach().double().numpy()
    return (
        64
        * (rows / np.linalg.norm(rows, axis=1, keepdims=True))
        @ (weights / np.linalg.norm(weights, axis=1, keepdims=True)).T
    )


def test_both_sides_are_cosines_to_the_centres_times_the_scale_of_the_heads(centres):
    made, term = source(centres)
    seen = context()
    made.build(seen)
    ours, theirs = made.pair(term, made.forward(seen))
    np.testing.assert_allclose(ours.detach(), oracle(seen.student.embedding, centres), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(theirs, oracle(seen.teachers["teacher"].embedding, centres), rtol=1e-5, atol=1e-4)
    assert ours.requires_grad
    assert not theirs.requires_grad


def test_a_tapped_map_meets_the_centres_through_its_projector(centres):
    made, term = source(centres, student="layer4", projector="map_to_embedding")
    seen = context(student=10, layer4=torch.randn(3, 2, 5, 5))
    projectors = made.build(seen)
    ours, _ = made.pair(term, made.forward(seen))
    ours.sum().backward()
    projected = seen.student.taps["layer4"].flatten(1) @ projectors["kd"].linear.weight.T
    np.testing.assert_allclose(ours.detach(), oracle(projected, centres), rtol=1e-4, atol=1e-3)
    assert projectors["kd"].linear.weight.grad.any()


@pytest.mark.parametrize(
    ("term", "student", "message"),
    [
        ({}, 6, r"term 'kd': student \(6,\) has no cosine to class centres \(4,\).*Set projector: linear"),
        ({"student": "layer4"}, 6, r"student \(2, 5, 5\) has no cosine to class.*Set projector: map_to_embedding"),
    ],
)
def test_an_activation_of_another_shape_needs_a_projector(centres, term, student, message):
    made, _ = source(centres, **term)
    with pytest.raises(ShapeError, match=message):
        made.build(context(student=student, layer4=torch.randn(3, 2, 5, 5)))


def test_centres_of_another_width_than_the_teachers_are_refused(centres):
    made, _ = source(centres)
    with pytest.raises(ShapeError, match=r"teacher centres \(classes, 4\) do not fit a teacher of width 5"):
        made.build(context(teacher=5))


def test_a_recipe_without_centres_is_refused():
    with pytest.raises(RecipeError, match=r"needs the teacher's class centres, but teacher.centres is empty"):
        source(None)
