"""The margin anchor of prompts through student and head: sharded, sampled, over several ranks."""

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from tests.ranks import RANKS, run_ranks
from tests.rounding import assert_equal_up_to_rounding
from tests.teachers.prompts.networks import prompted
from tests.toy import WIDTH, of_ranks, teacher_file, toy_batch, toy_centres, toy_head, toy_host

CLASSES = 11
MARGIN = 0.4
SPEC = {"network": "vit_tiny", "prompts": {"tokens": 3}}
TERM = {"loss": "prompt_margin", "weight": 2}


def build(folder, sample_rate=1.0):
    teacher = SPEC | {"centres": [teacher_file(folder, CLASSES)]}
    recipe = parse_recipe({"teacher": teacher, "losses": [TERM]}, "recipe")
    torch.manual_seed(0)
    host = toy_host()
    distillation = seam.install(host, recipe, {"teacher": prompted("vit_tiny")})
    student = host.get_model("toy", num_features=WIDTH).train()
    return student, toy_head(host, CLASSES, (1.0, 0.0, MARGIN), sample_rate), distillation


def gradients(folder):
    """Return the raw value, and the gradients of prompts and student."""
    student, head, distillation = build(folder)
    wrapped = of_ranks(student)
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    head(wrapped(images), labels).backward()
    return distillation.step.raw["prompt_margin"], {name: value.grad for name, value in student.named_parameters()}


def test_equals_the_margin_loss_written_out(tmp_path):
    value, found = gradients(tmp_path)
    teacher, (images, labels) = prompted("vit_tiny"), toy_batch(CLASSES)
    cosines = normalize(teacher(images)) @ normalize(toy_centres(CLASSES, seed=5)).T
    logits = 64 * (cosines - MARGIN * torch.nn.functional.one_hot(labels, CLASSES))
    expected = cross_entropy(logits, labels)
    assert float(value) == pytest.approx(float(expected.detach()), rel=1e-5)
    (TERM["weight"] * expected).backward()
    for name, prompts in teacher.prompts.named_parameters():
        ours = found[f"method.prompts.{name}"]
        torch.testing.assert_close(ours, prompts.grad, rtol=1e-4, atol=1e-5 * float(prompts.grad.abs().max()))


def test_nothing_of_it_reaches_the_student(tmp_path):
    _, with_term = gradients(tmp_path)
    student, head, _ = build(tmp_path)
    images, labels = toy_batch(CLASSES)
    margin = super(type(head), head).forward(student(images)[0], labels)
    margin.backward()
    for name, value in student.backbone.named_parameters():
        assert torch.equal(with_term[f"backbone.{name}"], value.grad)


@pytest.mark.parametrize("world", RANKS)
def test_several_ranks_with_their_own_classes_equal_one_process(world, tmp_path):
    value, expected = gradients(tmp_path)
    for theirs, found in run_ranks(gradients, world, tmp_path):
        assert float(theirs) == pytest.approx(float(value), rel=1e-5)
        for name, gradient in expected.items():
            assert_equal_up_to_rounding(found[name], gradient, name)


def test_a_sampled_head_compares_with_its_own_classes_only(tmp_path):
    student, head, distillation = build(tmp_path, sample_rate=0.6)
    images, labels = toy_batch(CLASSES)
    student.zero_grad()
    head(student(images), labels).backward()
    assert len(head.weight_index) < CLASSES
    assert torch.isfinite(distillation.step.raw["prompt_margin"])
    assert all(value.grad.abs().max() > 0 for value in student.method["prompts"].parameters())


def test_it_needs_prompts_and_class_centres():
    with pytest.raises(
        RecipeError, match=r"term 'prompt_margin' reads a teacher with prompts.* expected teacher.prompts"
    ):
        parse_recipe({"teacher": {"network": "vit_tiny"}, "losses": [TERM]}, "recipe")
    with pytest.raises(RecipeError, match=r"needs the teacher's class centres.*--centres FILE"):
        seam.install(
            toy_host(), parse_recipe({"teacher": SPEC, "losses": [TERM]}, "recipe"), {"teacher": prompted("vit_tiny")}
        )
