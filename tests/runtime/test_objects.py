"""Objects made of named options: what is an option, and what is missing."""

import pytest

from insightface_cakd.errors import RecipeError
from insightface_cakd.runtime.objects import construct


class Named:
    def __init__(self, size, up="area"):
        self.given = {"size": size, "up": up}


class Open:
    def __init__(self, size=1, *args, **more):
        self.given = {"size": size, "args": args, **more}


def test_an_object_is_made_of_its_options():
    assert construct(Named, {"size": 3}, "here", RecipeError).given == {"size": 3, "up": "area"}


def test_further_names_go_where_any_name_is_taken():
    assert construct(Open, {"kind": "fast"}, "here", RecipeError).given == {"size": 1, "args": (), "kind": "fast"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"^here: size is missing; Named needs it\."),
        ({"size": 1, "args": 3}, r"^here: args is not an option of Named; known: size, up\.$"),
        ({"size": 1, "self": 3}, r"^here: self is not an option of Named; known: size, up\.$"),
        ({"siz": 1}, r"siz is not an option of Named; known: size, up\. Did you mean 'size'\?$"),
    ],
)
def test_what_is_no_option_or_missing_is_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        construct(Named, options, "here", RecipeError)
