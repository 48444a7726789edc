"""What a recipe may say about the fields; every inferred detail is a key with its alternative."""

import pytest
from pydantic import ValidationError

from insightface_cakd.distill.urfm import URFMSpec
from insightface_cakd.errors import RecipeError


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
