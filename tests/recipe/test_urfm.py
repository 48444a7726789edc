"""What a recipe may say about the fields; every inferred detail is a key with its alternative."""

import pytest
from pydantic import ValidationError

from insightface_cakd.distill.urfm import URFMSpec
from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import parse_recipe

FURTHER = {"student": "layer3", "teacher": "blocks.1"}


def test_the_least_that_a_recipe_says():
    spec = URFMSpec(student="conv_sep")
    assert (spec.centres, spec.width, spec.heads, spec.buckets, spec.bias) == (49, 512, 8, 4, "key")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"centres": 50, "bias": "query"},
            r"urfm.centres: 50 centres lie on no square grid; .* Set 49 or 64, or bias: key\.",
        ),
        ({"width": 100}, r"urfm.heads: width 100 cannot be divided by 8 heads; expected a divisor\."),
        ({"mapping_heads": 3}, r"urfm.mapping_heads: width 512 cannot be divided by 3 heads"),
        ({"alpha": 4.0}, r"urfm.alpha: 4.0 with beta 3.8 and reach 15.2; expected it below both\."),
    ],
)
def test_values_that_do_not_fit_each_other_are_refused_in_one_line(values, message):
    with pytest.raises(RecipeError, match=message) as caught:
        URFMSpec(student="conv_sep", **values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [{"centres": 0}, {"gamma": -1.0}, {"bias": "both"}, {"width": 0}, {"centers": 49}])
def test_values_out_of_range_and_unknown_keys_are_refused(values):
    with pytest.raises(ValidationError):
        URFMSpec(student="conv_sep", **values)


def test_centres_need_no_square_where_they_have_no_place():
    assert URFMSpec(student="conv_sep", bias="key", centres=50).centres == 50


def test_further_pairs_have_the_place_where_they_stand():
    more = [{"student": "layer3", "teacher": "stages.1"}, {"student": "layer4", "teacher": "norm", "teacher_extra": 1}]
    pairs = URFMSpec(student="layer4", more=more).pairs
    assert [(place, pair.student, pair.teacher, pair.teacher_extra) for place, pair in pairs.items()] == [
        ("urfm", "layer4", None, 0),
        ("urfm.more[0]", "layer3", "stages.1", 0),
        ("urfm.more[1]", "layer4", "norm", 1),
    ]
    assert list(URFMSpec(student="layer4").pairs) == ["urfm"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            [{"student": "layer4", "teacher": "norm"}],
            r"recipe: urfm\.more\[0\]: student layer4 and teacher norm are already the pair of urfm; expected each pair once\. Remove",
        ),
        ([FURTHER, {**FURTHER, "teacher_extra": 1}], r"urfm\.more\[1\]: .* already the pair of urfm\.more\[0\]"),
        ([FURTHER, {"student": "layer4"}], r"recipe: urfm\.more\[1\]\.teacher is missing; it must be given\."),
        ([{**FURTHER, "centres": 9}], r"urfm\.more\[0\]\.centres is not a key; known: student, teacher, student_extra"),
        ([{**FURTHER, "student_extra": -1}], r"urfm\.more\[0\]\.student_extra is -1; input should be greater"),
        (FURTHER, r"urfm\.more is \{.*\}; input should be a valid list\."),
    ],
    ids=["twice", "twice among the further", "no tap of the teacher", "unknown key", "extra", "no list"],
)
def test_further_pairs_that_cannot_be_are_refused_in_one_line(more, message):
    content = {
        "teacher": {"network": "vit_tiny", "prompts": {"tokens": 2}},
        "urfm": {"student": "layer4", "teacher": "norm", "more": more},
        "losses": [{"loss": "urfm_feature", "weight": 1}],
    }
    with pytest.raises(RecipeError, match=message) as caught:
        parse_recipe(content, "recipe")
    assert "\n" not in str(caught.value)
