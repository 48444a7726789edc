"""`KEY=VALUE` changes a recipe as its file would, had it said so."""

import pytest

from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.recipe.settings import changed, given
from insightface_cakd.runtime.run_folder import RunFolder

CONTENT = {
    "teacher": {"network": "vit_tiny"},
    "losses": [{"loss": "cosine", "weight": 1}, {"loss": "kd", "name": "soft", "weight": 2}],
}


def parsed(*settings):
    return parse_recipe(CONTENT, "recipe", settings)


def test_keys_with_dots_and_terms_by_their_names():
    recipe = parsed("teacher.centres=[a, b]", "losses.cosine.weight=32", "losses.soft.temperature=2.5", "about=mine")
    assert recipe.teacher.centres == ["a", "b"]
    assert [term.weight for term in recipe.losses] == [32, 2]
    assert recipe.losses[1].options == {"temperature": 2.5}
    assert recipe.about == "mine"


def test_a_part_that_the_recipe_lacks_is_made():
    assert parsed("student.weights=a.pt", "losses.cosine.schedule.kind=linear", "losses.cosine.schedule.epochs=2")
    assert changed({"task": "triplets"}, ["task.images=2"]) == {"task": {"kind": "triplets", "images": 2}}
    assert changed({"student": None}, ["student.weights=a.pt"]) == {"student": {"weights": "a.pt"}}


def test_the_last_setting_of_a_key_counts_and_the_content_stays():
    assert parsed("losses.cosine.weight=3", "losses.cosine.weight=4").losses[0].weight == 4
    assert CONTENT["losses"][0]["weight"] == 1


@pytest.mark.parametrize("name", ["2048", "[a].pt", "no", "a: b", "né.pt", "a=b.pt", "#a", '"a"'])
def test_any_name_of_a_file_stays_text_through_the_short_options(name):
    recipe = parsed(*given(name, [name], name, name))
    assert recipe.student is not None
    assert (recipe.teacher.weights, recipe.teacher.centres, recipe.student.weights) == (name, [name], name)


def test_a_folder_a_run_or_an_onnx_file_replaces_the_network_too(tmp_path):
    assert parsed(f"teacher.weights={tmp_path}").teacher.network == "cached"
    assert parsed("teacher.weights=a.onnx").teacher.network == "onnx"
    assert parsed("teacher.weights=a.pt").teacher.network == "vit_tiny"
    (tmp_path / "model.pt").touch()
    RunFolder(tmp_path).write({"config": {"network": "mbf"}})
    assert parsed(f"teacher.weights={tmp_path}").teacher.network == "mbf"
    assert parsed(f"teacher.weights={tmp_path}", "teacher.network=r18").teacher.network == "r18"
    assert changed({}, ["teachers.old.weights=a.onnx"])["teachers"]["old"]["network"] == "onnx"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("teacher.wieghts=a", r"teacher\.wieghts is not a key; known: .* Did you mean 'weights'\?"),
        ("techer.weights=a", r"techer is not a key; known: .* Did you mean 'teacher'\?"),
        ("losses.cosin.weight=1", r"'cosin' is no term's key; .* its terms: cosine, soft\. Did you mean 'cosine'\?"),
        ("losses.cosine=1", r"expected losses\.TERM\.KEY"),
        ("losses.cosine.wieght=1", r"losses\[0\]\.wieght is not a key of cosine; .* Did you mean 'weight'\?"),
        ("losses.cosine.weight=much", r"losses\[0\]\.weight is 'much'; input should be a valid number"),
        ("teacher.network.size=1", r"nothing lies below 'vit_tiny'; expected a part of the recipe"),
        ("teacher.weights", r"--recipe-set teacher\.weights: no '='; expected KEY=VALUE, for example"),
        ("teacher.centres=[a", r"--recipe-set teacher\.centres=\[a: the value is not YAML"),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_line(setting, message):
    with pytest.raises(RecipeError, match=message) as refused:
        parsed(setting)
    assert "\n" not in str(refused.value)
