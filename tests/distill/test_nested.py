"""Compact and nested students: projectors that keep cosines, prefixes against NumPy, two ranks, and what is refused."""

import numpy as np
import pytest
import torch

from insightface_cakd.distill.maps import learnt_maps
from insightface_cakd.distill.projectors import build_projector
from insightface_cakd.errors import EvaluationError, RecipeError, ShapeError
from insightface_cakd.evaluate.execution import Execution
from insightface_cakd.evaluate.mixed.maps import at_one_width
from insightface_cakd.networks.prefix import prefix_of
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from tests.ranks import run_ranks
from tests.rounding import assert_equal_up_to_rounding
from tests.toy import WIDTH, Toy, of_ranks, toy_batch, toy_head, toy_host, toy_teachers

CLASSES = 11
NESTED = {"loss": "cosine", "weight": 20, "nested": [4, 16], "projector": "linear"}


def built(term, width=WIDTH):
    host = toy_host()
    torch.manual_seed(0)
    recipe = parse_recipe({"teacher": {"network": "toy"}, "losses": [term]}, "recipe")
    distillation = seam.install(host, recipe, toy_teachers())
    student = host.get_model("toy", num_features=width)
    return student.train(), toy_head(host, CLASSES, (1.0, 0.5, 0.0)), distillation


def test_an_orthogonal_projector_keeps_cosines_and_its_transpose_undoes_it():
    torch.manual_seed(1)
    for width in (5, 12):
        projector = build_projector("orthogonal", (width,), (12,), "x")
        assert sum(parameter.requires_grad for parameter in projector.parameters()) == 1
        rows = torch.randn(7, width)
        with torch.no_grad():
            matrix = projector.weight.numpy()
            np.testing.assert_allclose(matrix.T @ matrix, np.eye(width), atol=1e-6)
            np.testing.assert_allclose(projector(rows) @ projector(rows).T, rows @ rows.T, atol=1e-5)
            np.testing.assert_allclose(projector(rows).numpy() @ matrix, rows, atol=1e-5)


def test_it_stays_orthogonal_while_it_learns():
    torch.manual_seed(1)
    projector = build_projector("orthogonal", (5,), (12,), "x")
    before = projector.weight.detach().clone()
    optimizer = torch.optim.SGD(projector.parameters(), lr=1.0, weight_decay=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        (projector(torch.randn(9, 5)) - torch.randn(9, 12)).square().mean().backward()
        optimizer.step()
    matrix = projector.weight.detach()
    assert float((matrix - before).abs().max()) > 1e-2
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(5), rtol=0, atol=1e-5)


def test_a_nested_term_is_the_mean_over_its_prefixes():
    student, head, distillation = built(NESTED)
    images, labels = toy_batch(CLASSES)
    outputs = student(images)
    head(outputs, labels)
    rows = outputs[0].detach().double().numpy()
    taught = toy_teachers()["teacher"](images).double().numpy()
    values = []
    for width in (4, 16):
        matrix = student.method["projectors"][f"cosine_{width}"].weight.detach().double().numpy()
        projected = rows[:, :width] @ matrix.T
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(projected, taught, strict=True)]
        values.append(1 - np.mean(cosines))
    assert float(distillation.step.raw["cosine"]) == pytest.approx(np.mean(values), rel=1e-5)


def test_a_number_halves_the_whole_width():
    student, _, _ = built({**NESTED, "nested": 2, "projector": "orthogonal"})
    assert sorted(student.method["projectors"]) == ["cosine_16", "cosine_4", "cosine_8"]


def gradients():
    student, head, _ = built(NESTED)
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    wrapped = of_ranks(student)
    head(wrapped(images), labels).backward()
    return {name: weight.grad for name, weight in student.named_parameters()}


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_does():
    expected = gradients()
    assert float(expected["method.projectors.cosine_4.weight"].abs().max()) > 0
    for found in run_ranks(gradients, 2):
        for name, gradient in expected.items():
            assert_equal_up_to_rounding(found[name], gradient, name)


@pytest.mark.parametrize(
    ("term", "error", "message"),
    [
        (
            {**NESTED, "nested": [4, 32]},
            ShapeError,
            r"gives widths \[4, 32\] of an embedding of 16; expected widths from 1",
        ),
        ({**NESTED, "nested": 5}, ShapeError, r"gives widths \[0, 1, 2, 4, 8, 16\]"),
        ({**NESTED, "loss": "ekd"}, RecipeError, r"'ekd'.nested: ekd remembers earlier batches"),
        (
            {"loss": "cosine", "weight": 1, "projector": "orthogonal"},
            ShapeError,
            r"the student has 20 values, more than",
        ),
    ],
)
def test_terms_that_do_not_fit_are_refused(term, error, message):
    with pytest.raises(error, match=message):
        built(term, 20 if "nested" not in term else WIDTH)


def test_the_student_has_no_trace_of_its_projectors_and_the_maps_are_theirs():
    student, head, distillation = built({"loss": "cosine", "weight": 1, "projector": "orthogonal"}, 8)
    assert student.state_dict().keys() == Toy(8).state_dict().keys()
    (matrix,) = learnt_maps(distillation).values()
    assert matrix.shape == (16, 8)
    assert any(key.startswith("cakd.projectors.cosine.") for key in head.state_dict())


def models(matrix):
    """Return a teacher of three numbers, and the student whose embeddings the matrix takes to the teacher's."""
    back = torch.linalg.pinv(matrix)

    def teacher(images):
        return images.flatten(1)[:, :2] @ matrix.T

    return teacher, lambda images: teacher(images) @ back.T


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_a_learnt_map_brings_both_to_one_width(side, tmp_path):
    matrix = torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, 1.0]])
    torch.save({"cosine": matrix, "other": torch.zeros(3, 1)}, tmp_path / "maps.pt")
    old, new = at_one_width(*models(matrix), tmp_path, side, Execution(torch.device("cpu"), 4))
    images = torch.randn(3, 3, 112, 112)
    assert old(images).shape == new(images).shape == (3, 2 if side == "student" else 3)
    torch.testing.assert_close(old(images), new(images), rtol=1e-4, atol=1e-4)


def test_a_run_without_the_map_is_refused(tmp_path):
    matrix = torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, 1.0]])
    execution = Execution(torch.device("cpu"), 4)
    with pytest.raises(EvaluationError, match=r"maps\.pt: does not exist; expected the output folder of a run"):
        at_one_width(*models(matrix), tmp_path, "student", execution)
    torch.save({"cosine": matrix[:2]}, tmp_path / "maps.pt")
    with pytest.raises(EvaluationError, match=r"cosine \(2, 2\), and the teacher gives 3 .*expected a map \(3, 2\)"):
        at_one_width(*models(matrix), tmp_path, "student", execution)


def test_a_prefix_is_the_first_numbers_and_no_more():
    network, images = Toy(8).eval(), torch.randn(2, 3, 112, 112)
    for model in (network, lambda images: network(images)):
        assert torch.equal(prefix_of(model, 3)(images), network(images)[:, :3])
        with pytest.raises(EvaluationError, match=r"width 9: the model gives 8 numbers a face; expected 1 to 8"):
            prefix_of(model, 9)(images)
