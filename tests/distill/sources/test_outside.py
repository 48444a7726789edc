"""A source that the package does not know: named by a recipe, read by a known loss, trained, saved and resumed."""

import pytest
import torch
from torch import nn

from insightface_cakd.distill.sources import Context, Source
from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import Recipe, parse_recipe
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from tests.ranks import run_ranks
from tests.rounding import assert_equal_up_to_rounding
from tests.toy import WIDTH, of_ranks, toy_batch, toy_head, toy_host, toy_teachers

CLASSES = 11
PLACE = "tests.distill.sources.test_outside:Rows"


class Rows(Source):
    """Offers `rows`: the mean of each row of a map, the student's scaled by what is learnt."""

    name = "rows"
    offers = ("rows",)

    def student_taps(self):
        return [self.setting.options["tap"]]

    def teacher_taps(self, name):
        return [self.setting.options["tap"]]

    def build(self, blank: Context) -> nn.Module:
        self.scale = nn.Linear(blank.student.taps[self.setting.options["tap"]].shape[2], 7, bias=False)
        return self.scale

    def forward(self, context):
        tap = self.setting.options["tap"]
        ours, theirs = (seen.taps[tap].mean(dim=(1, 3)) for seen in (context.student, context.teachers["teacher"]))
        return {"rows.student": self.scale(ours), "rows.teacher": theirs}


def recipe():
    content = {
        "teacher": {"network": "toy"},
        "sources": [{"kind": PLACE, "tap": "conv"}],
        "losses": [{"loss": "mse", "reads": "rows", "weight": 30}, {"loss": "cosine", "weight": 5}],
    }
    return parse_recipe(content, "recipe")


def built():
    host = toy_host()
    torch.manual_seed(0)
    distillation = seam.install(host, recipe(), toy_teachers())
    student = host.get_model("toy", dropout=0.0, fp16=False, num_features=WIDTH)
    return student.train(), toy_head(host, CLASSES, (1.0, 0.5, 0.0)), distillation


def gradients():
    student, head, _ = built()
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    wrapped = of_ranks(student)
    head(wrapped(images), labels).backward()
    return {name: parameter.grad for name, parameter in student.named_parameters()}


def test_it_trains_what_it_built_and_its_state_is_in_the_checkpoint():
    student, head, distillation = built()
    images, labels = toy_batch(CLASSES)
    head(student(images), labels).backward()
    assert float(student.method["rows"].weight.grad.abs().sum()) > 0
    assert float(distillation.step.raw["mse"]) > 0
    saved = {key: value.clone() for key, value in head.state_dict().items()}
    assert "cakd.rows.weight" in saved
    other, other_head, _ = built()
    other.method["rows"].weight.data.zero_()
    other_head.load_state_dict(saved)
    assert torch.equal(other.method["rows"].weight, student.method["rows"].weight)


def test_two_ranks_have_the_gradients_of_one_process():
    expected = gradients()
    for found in run_ranks(gradients, 2):
        for name, gradient in expected.items():
            assert_equal_up_to_rounding(found[name], gradient, name)


def test_a_recipe_with_it_comes_back_from_what_a_run_saves():
    assert Recipe.model_validate(recipe().model_dump()) == recipe()


class Nameless(Rows):
    """Builds something that no checkpoint could keep apart."""

    name = ""


class Clashing(Rows):
    """Builds something under the name of the projectors."""

    name = "projectors"


@pytest.mark.parametrize("kind", ["Nameless", "Clashing"])
def test_what_is_trained_needs_a_name_of_its_own(kind):
    content = recipe().model_dump()
    content["sources"] = [{"kind": PLACE.replace("Rows", kind), "tap": "conv"}]
    host = toy_host()
    seam.install(host, Recipe.model_validate(content), toy_teachers())
    with pytest.raises(
        RecipeError, match=rf"source {kind} trains a module under the name '.*'; expected a name of its own"
    ):
        host.get_model("toy", num_features=WIDTH)


def test_what_nothing_offers_is_refused():
    content = {"teacher": {"network": "toy"}, "losses": [{"loss": "mse", "reads": "rows", "weight": 1}]}
    with pytest.raises(
        RecipeError, match=r"term 'mse' reads rows, which nothing offers; offered: embedding, map, .* Name the source"
    ):
        parse_recipe(content, "recipe")
