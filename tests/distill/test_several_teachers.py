"""Several teachers by name, terms that say whose, and a teacher that trains with the student."""

import pytest
import torch

from insightface_cakd.errors import RecipeError, TeacherError
from insightface_cakd.losses.base import DistillLoss
from insightface_cakd.recipe import Recipe, parse_recipe
from insightface_cakd.recipe.teacher import TeacherSpec
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from insightface_cakd.teachers import build_teacher
from insightface_cakd.teachers.trained import TrainedTeacher
from tests.ranks import run_ranks
from tests.rounding import assert_equal_up_to_rounding
from tests.toy import WIDTH, Toy, of_ranks, toy_batch, toy_head, toy_host, toy_teacher

CLASSES = 11
COSINE = {"loss": "cosine", "weight": 20}


def recipe(*losses, **more):
    content = {"teachers": {"wide": {"network": "toy"}, "narrow": {"network": "toy"}}, "losses": list(losses), **more}
    return parse_recipe(content, "recipe")


def teachers():
    return {"wide": toy_teacher(8), "narrow": toy_teacher(5)}


def built(read, taught):
    host = toy_host()
    torch.manual_seed(0)
    distillation = seam.install(host, read, taught)
    student = host.get_model("toy", dropout=0.0, fp16=False, num_features=WIDTH)
    return student.train(), toy_head(host, CLASSES, (1.0, 0.5, 0.0)), distillation


def gradients(read, taught):
    student, head, _ = built(read, taught)
    wrapped = of_ranks(student)
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    head(wrapped(images), labels).backward()
    return {name: weight.grad for name, weight in student.named_parameters() if weight.grad is not None}


def test_each_term_reads_the_teacher_that_it_names_and_the_first_without_a_name():
    read = recipe({**COSINE, "name": "a"}, {**COSINE, "name": "b", "whose": "narrow"})
    student, head, distillation = built(read, teachers())
    images, labels = toy_batch(CLASSES)
    outputs = student(images)
    assert set(outputs[1]) == {"student.embedding", "wide.embedding", "narrow.embedding"}
    head(outputs, labels)
    said = {name: teacher(images) for name, teacher in teachers().items()}
    for term, name in (("a", "wide"), ("b", "narrow")):
        expected = (1 - torch.nn.functional.cosine_similarity(outputs[0], said[name])).mean()
        assert float(distillation.step.raw[term]) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_taps_of_each_teacher_are_its_own():
    tapped = {"loss": "fitnet", "weight": 1, "student": "conv", "teacher": "conv", "projector": "conv1x1"}
    student, _, _ = built(recipe({**tapped, "name": "a"}, {**tapped, "name": "b", "whose": "narrow"}), teachers())
    _, features = student(toy_batch(CLASSES)[0])
    assert (features["wide.conv"].shape[1], features["narrow.conv"].shape[1]) == (8, 5)


def test_the_gradient_is_the_sum_of_what_each_teaches_alone():
    both = gradients(recipe({**COSINE, "name": "a"}, {**COSINE, "name": "b", "whose": "narrow"}), teachers())
    alone = [
        gradients(parse_recipe({"teacher": {"network": "toy"}, "losses": [COSINE]}, "recipe"), {"teacher": teacher})
        for teacher in teachers().values()
    ]
    nothing = {"teacher": {"network": "toy"}, "losses": [{**COSINE, "weight": 1e-30}]}
    silent = gradients(parse_recipe(nothing, "recipe"), {"teacher": toy_teacher()})
    for name, gradient in both.items():
        # Four gradients, each rounded by itself.
        assert_equal_up_to_rounding(gradient, alone[0][name] + alone[1][name] - silent[name], name)


def test_several_teachers_come_back_from_what_a_run_saves():
    read = recipe({**COSINE, "whose": "narrow"})
    assert Recipe.model_validate(read.model_dump()) == read
    assert list(read.named_teachers) == ["wide", "narrow"]


@pytest.mark.parametrize(
    ("losses", "more", "message"),
    [
        (
            [{**COSINE, "whose": "narow"}],
            {},
            r"term 'cosine' reads teacher narow; known: wide, narrow\. Did you mean 'narrow'",
        ),
        ([COSINE], {"teacher": {"network": "r50"}}, r"teacher and teachers are both given; expected one of them"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(losses, more, message):
    with pytest.raises(RecipeError, match=message):
        recipe(*losses, **more)


class BothWays(DistillLoss):
    """Pull both sides to each other."""

    detaches_teacher = False

    def compute(self, student, teacher, labels):
        return (student - teacher).square().mean()


def trained():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return {"teacher": TrainedTeacher(Toy(WIDTH, 6), "toy", WIDTH, "cpu")}


def both_ways():
    content = {
        "teacher": {"network": "toy", "trains": True},
        "losses": [{"loss": f"{__name__}:BothWays", "weight": 5}],
    }
    return parse_recipe(content, "recipe")


def gradients_of_both():
    return gradients(both_ways(), trained())


def test_a_teacher_that_trains_learns_and_is_in_the_checkpoint():
    student, head, _ = built(both_ways(), trained())
    images, labels = toy_batch(CLASSES)
    head(student(images), labels).backward()
    learner = student.method["teachers"]["teacher"]
    assert all(float(weight.grad.abs().sum()) > 0 for weight in learner.parameters())
    assert any(key.startswith("cakd.teachers.teacher.") for key in head.state_dict())
    assert learner.training
    assert not student.eval().method["teachers"]["teacher"].training


def test_two_ranks_train_it_as_one_process_does():
    expected = gradients_of_both()
    assert any(name.startswith("method.teachers") for name in expected)
    for found in run_ranks(gradients_of_both, 2):
        for name, gradient in expected.items():
            assert_equal_up_to_rounding(found[name], gradient, name)


def test_a_teacher_that_trains_may_start_from_random_weights_and_no_other():
    def get_model(name, num_features=WIDTH, **_):
        return Toy(num_features)

    teacher = build_teacher(TeacherSpec(network="toy", trains=True, embedding_size=WIDTH), get_model, "cpu")
    assert teacher.trains
    assert all(weight.requires_grad for weight in teacher.embedder.parameters())
    with pytest.raises(TeacherError, match=r"trains from random weights, and teacher\.embedding_size is not set"):
        build_teacher(TeacherSpec(network="toy", trains=True), get_model, "cpu")
    with pytest.raises(TeacherError, match=r"teacher onnx: cannot train, no gradient passes"):
        build_teacher(TeacherSpec(network="onnx", trains=True), get_model, "cpu")


def test_what_changes_in_the_first_teacher_is_in_what_a_run_saves_of_it():
    read = recipe(COSINE)
    read.teacher.weights = "moved.pt"
    assert Recipe.model_validate(read.model_dump()).named_teachers["wide"].weights == "moved.pt"
