"""`import insightface_cakd as cakd`: names that are imported when they are used, two of which are packages too."""

import inspect
import subprocess
import sys

import pytest

import insightface_cakd as cakd
from insightface_cakd.api.evaluation import evaluate
from insightface_cakd.api.exporting import export
from insightface_cakd.recipe import Recipe, load_recipe


def in_a_new_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_it_offers_the_names_that_it_lists():
    assert set(cakd.__all__) == {"Recogniser", "evaluate", "export", "load", "losses", "recipes", "train", "verify"}
    assert set(cakd.__all__) < set(dir(cakd))
    assert all(getattr(cakd, name).__doc__ for name in cakd.__all__)


def test_a_name_that_it_has_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'insightface_cakd' has no attribute 'tain'"):
        cakd.tain  # noqa: B018


@pytest.mark.parametrize("first", ["insightface_cakd.evaluate.pairs.eer, insightface_cakd.export.failures", "sys"])
def test_evaluate_and_export_are_functions_whoever_imported_the_packages_of_that_name(first):
    code = (
        f"import {first}, insightface_cakd as cakd\n"
        "before = cakd.evaluate, cakd.export\n"
        "import insightface_cakd.evaluate.pairs.eer as eer\n"
        "import insightface_cakd.export.failures\n"
        "assert before == (cakd.evaluate, cakd.export)\n"
        "assert cakd.evaluate.pairs.eer is eer and cakd.export.failures.__name__.endswith('export.failures')\n"
        "for call in before:\n"
        "    try: call()\n"
        "    except TypeError as error: print(error)\n"
    )
    said = in_a_new_process(code).splitlines()
    assert said == [
        "evaluate() missing 2 required positional arguments: 'model' and 'data'",
        "export() missing 2 required positional arguments: 'model' and 'path'",
    ]


def test_editors_see_their_arguments():
    assert inspect.signature(cakd.evaluate) == inspect.signature(evaluate)
    assert inspect.signature(cakd.export) == inspect.signature(export)


def test_recipes_are_read_by_name_without_torch():
    found = cakd.recipes()
    assert len(found) > 40
    assert found["cosine"] == load_recipe("cosine")
    assert all(isinstance(recipe, Recipe) and recipe.about for recipe in found.values())
    code = "import sys, insightface_cakd as cakd; cakd.recipes(); print('torch' in sys.modules)"
    assert in_a_new_process(code) == "False\n"
