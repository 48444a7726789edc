"""The nearest name of a mistaken one, where one is near."""

import pytest

from insightface_cakd.errors import did_you_mean


@pytest.mark.parametrize(
    ("name", "known", "nearest"),
    [
        ("wieght", ["weight", "width"], "weight"),
        ("bim", ["bin", "identify"], "bin"),
        ("first", ["first-step-lr", "numpy-names"], "first-step-lr"),
    ],
)
def test_a_near_name_is_offered(name, known, nearest):
    assert did_you_mean(name, known) == f" Did you mean '{nearest}'?"


@pytest.mark.parametrize(
    ("name", "known"),
    [("self", ["schedule", "weight"]), ("args", ["margin", "name"]), ("c", ["cosine", "cckd"]), ("", ["a"]), ("x", [])],
)
def test_nothing_is_offered_where_none_is_near(name, known):
    assert did_you_mean(name, known) == ""
