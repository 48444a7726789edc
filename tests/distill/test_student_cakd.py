"""The wrapped student with unified receptive fields and a prompted teacher."""

import pytest
import torch

from insightface_cakd.distill.sources import build_sources
from insightface_cakd.distill.student import DistilledStudent
from insightface_cakd.errors import RecipeError, TapError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.teachers import PromptedTeacher, Teacher
from insightface_cakd.teachers.prompts import PromptSpec

FIELDS = {"student": "layer4", "centres": 9, "width": 32, "heads": 4}
TERMS = [{"loss": f"urfm_{name}", "weight": 1} for name in ("attention", "feature", "anchor")]
ANCHOR = {"loss": "prompt_anchor", "weight": 1}


def recipe(*losses, urfm=FIELDS, **teacher):
    content = {"teacher": {"network": "vit_tiny", **teacher}, "losses": list(losses)}
    return parse_recipe(content | ({} if urfm is None else {"urfm": urfm}), "recipe")


def student(read, prompted=True):
    network = get_model("vit_tiny", num_features=64)
    kind = PromptedTeacher if prompted else Teacher
    given = (PromptSpec(tokens=2),) if prompted else ()
    torch.manual_seed(0)
    teachers = {"teacher": kind(network, "vit_tiny", 64, "cpu", *given)}
    return DistilledStudent(get_model("cnn_tiny", num_features=64), teachers, build_sources(read, teachers))


def images(count=4):
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_both_sides_are_seen_in_the_same_fields():
    module = student(recipe(*TERMS, urfm={**FIELDS, "teacher": "norm"}), prompted=False).train()
    _, features = module(images())
    for side in ("student", "teacher"):
        assert features[f"urfm.{side}.attention"].shape == (4, 4, 9, 9)
        assert features[f"urfm.{side}.fields"].shape == (4, 9, 32)
        assert features[f"urfm.{side}.anchor"].shape == (4, 64)
    assert "prompts" not in module.method


def test_a_prompted_teacher_shows_its_last_tokens_without_a_tap():
    module = student(recipe(*TERMS, prompts={"tokens": 2})).train()
    assert module.method["urfm"].grids["teacher"].extra == 2
    _, features = module(images())
    assert features["urfm.teacher.fields"].shape == (4, 9, 32)


def test_prompts_and_fields_learn_with_the_student_and_the_teacher_does_not():
    module = student(recipe(*TERMS, ANCHOR, prompts={"tokens": 2})).train()
    before = {key: value.clone() for key, value in module.teacher.embedder.state_dict().items()}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        _, features = module(images())
        loss = sum(
            (features[f"urfm.student.{kind}"] - features[f"urfm.teacher.{kind}"]).square().mean()
            for kind in ("attention", "fields")
        )
        loss = loss + features["urfm.student.anchor"].square().mean()
        loss = loss - torch.cosine_similarity(features["teacher.embedding"], features["teacher.plain"]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for name, parameter in module.method["prompts"].named_parameters():
            assert parameter.grad.abs().max() > 0, name
    after = module.teacher.embedder.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert all(parameter.grad is None for parameter in module.teacher.embedder.parameters())


def test_its_state_is_still_the_bare_backbones():
    module = student(recipe(*TERMS, prompts={"tokens": 2}))
    get_model("cnn_tiny", num_features=64).load_state_dict(module.state_dict(), strict=True)
    prompts = {id(parameter) for parameter in module.teacher.prompts.parameters()}
    assert prompts <= {id(parameter) for parameter in module.parameters()}


def test_a_teacher_without_prompts_needs_a_tap():
    with pytest.raises(TapError, match=r"urfm.teacher: not set, and teacher vit_tiny has no prompts"):
        student(recipe(*TERMS), prompted=False)


class TestRecipes:
    def test_terms_without_fields(self):
        with pytest.raises(RecipeError, match=r"term 'urfm_attention' reads unified receptive fields.* Add `urfm:`"):
            recipe(TERMS[0], urfm=None)

    def test_fields_without_terms(self):
        with pytest.raises(RecipeError, match="urfm is given, and no term reads it"):
            recipe({"loss": "cosine", "weight": 1})

    def test_prompts_that_learn_from_nothing(self):
        with pytest.raises(RecipeError, match=r"teacher.prompts learn from no term"):
            recipe({"loss": "cosine", "weight": 1}, urfm=None, prompts={"tokens": 2})

    def test_an_anchor_without_prompts(self):
        with pytest.raises(RecipeError, match=r"term 'prompt_anchor' .*expected teacher.prompts"):
            recipe(ANCHOR, urfm=None)

    @pytest.mark.parametrize(
        ("change", "message"),
        [({"centers": 9}, "urfm.centers is not a key.*centres"), ({"centres": 0}, "urfm.centres is 0")],
    )
    def test_keys_of_the_fields(self, change, message):
        with pytest.raises(RecipeError, match=message):
            recipe(*TERMS, urfm={**FIELDS, **change})

    def test_no_prompts(self):
        with pytest.raises(RecipeError, match=r"teacher.prompts.tokens is 0"):
            recipe(*TERMS, prompts={"tokens": 0})
