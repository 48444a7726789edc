"""What a recipe may say about prompts."""

import pytest

from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.teachers.prompts import PromptSpec


def recipe(prompts):
    learns = "cosine" if prompts is None else "prompt_anchor"
    content = {
        "teacher": {"network": "vit_t", "weights": "t.pt", "prompts": prompts},
        "losses": [{"loss": learns, "weight": 1.0}],
    }
    return parse_recipe(content, "recipe r.yaml")


def test_prompts_are_stage_wise_unless_the_recipe_says_otherwise():
    assert recipe({}).teacher.prompts == PromptSpec(tokens=8, placement="stage", checkpoint=False, output="norm")
    assert recipe(None).teacher.prompts is None


@pytest.mark.parametrize(
    ("prompts", "line"),
    [
        ({"tokens": 0}, r"teacher.prompts.tokens is 0; input should be greater than or equal to 1"),
        ({"tokens": "8"}, r"teacher.prompts.tokens is '8'; input should be a valid integer"),
        ({"placement": "first"}, r"teacher.prompts.placement is 'first'; input should be 'deep', 'stage' or 'shallow'"),
        ({"output": "pooled"}, r"teacher.prompts.output is 'pooled'; input should be 'norm' or 'block'"),
        ({"checkpoint": 1}, r"teacher.prompts.checkpoint is 1; input should be a valid boolean"),
        ({"token": 8}, r"teacher.prompts.token is not a key"),
    ],
)
def test_a_value_that_cannot_be_meant_is_one_line(prompts, line):
    with pytest.raises(RecipeError, match=rf"recipe r.yaml: {line}") as caught:
        recipe(prompts)
    assert "\n" not in str(caught.value)
