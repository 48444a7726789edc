"""A recipe is strict: what it does not know, it refuses, and says what it knows."""

import ast
from pathlib import Path

import pytest

from insightface_cakd.errors import RecipeError
from insightface_cakd.losses import LOSSES
from insightface_cakd.recipe import Recipe, find_recipe, load_recipe, parse_recipe, recipe_name, shipped_recipes
from insightface_cakd.recipe.settings import given

ROOT = Path(__file__).resolve().parents[2]


def recipe(**term):
    return {"teacher": {"network": "vit_tiny"}, "losses": [{"loss": "cosine", "weight": 1, **term}]}


def test_a_term_has_the_name_of_its_loss_unless_it_says_otherwise():
    assert parse_recipe(recipe(), "recipe").losses[0].name == "cosine"
    assert parse_recipe(recipe(name="angular"), "recipe").losses[0].name == "angular"


@pytest.mark.parametrize(
    ("weights", "network"), [("weights.pt", "vit_tiny"), ("Model.ONNX", "onnx"), (".", "cached"), (None, "vit_tiny")]
)
def test_a_teacher_given_as_a_folder_is_a_cache_and_as_an_onnx_file_a_graph(weights, network):
    read = parse_recipe(recipe(), "recipe", given(teacher=weights))
    assert (read.teacher.network, read.teacher.weights) == (network, weights)


def test_options_of_the_loss_stand_beside_the_terms_own_keys():
    term = parse_recipe(recipe(loss="kd", temperature=2.5), "recipe").losses[0]
    assert term.options == {"temperature": 2.5}
    assert term.build_loss().temperature == 2.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (recipe(loss="cosin"), r"recipe: losses\[0\]\.loss is 'cosin'; known losses: .* Did you mean 'cosine'\?"),
        (recipe(wieght=2), r"losses\[0\]\.wieght is not a key of cosine; known: .*weight.* Did you mean 'weight'\?"),
        (recipe(weight=-1), r"losses\[0\]\.weight is -1\.0; input should be greater than or equal to 0"),
        (recipe(weight=float("nan")), r"losses\[0\]\.weight is nan; input should be"),
        (recipe(weight="much"), r"losses\[0\]\.weight is 'much'; input should be a valid number"),
        (
            recipe(schedule={"kind": "linear", "steps": 1.5}),
            r"losses\[0\]\.schedule\.steps is 1\.5; input should be a valid integer",
        ),
        (
            recipe(schedule="cosin"),
            r"losses\[0\]\.schedule\.kind is 'cosin'; input should be 'constant', 'linear', 'by_epoch'",
        ),
        (recipe(schedule="linear"), r"losses\[0\]\.schedule is 'linear'; linear needs one of steps and epochs"),
        (
            recipe(schedule={"kind": "linear", "steps": 3, "epochs": 1}),
            r"losses\[0\]\.schedule is .*; linear needs one of steps and epochs",
        ),
        (
            recipe(schedule={"kind": "cosine", "steps": 3}),
            r"losses\[0\]\.schedule is .*; cosine has no steps; it takes to",
        ),
        (
            recipe(schedule={"kind": "linear", "step": 3}),
            r"losses\[0\]\.schedule\.step is not a key; known: kind, steps, epochs, to\. Did you mean 'steps'\?",
        ),
        (
            {**recipe(), "balance": {"ratio": 1}},
            r"balance is not a part any more: no measured run gained by it; expected weights and schedules\. Remove it",
        ),
        (
            {**recipe(), "student": {"wights": "a"}},
            r"student\.wights is not a key; known: weights, stages, lora\. Did you mean 'weights'",
        ),
        (
            {"teacher": {"network": "r50"}, "losses": []},
            r"losses is \[\]; expected at least one term, or a part `head`",
        ),
        ({"losses": [{"loss": "cosine", "weight": 1}]}, r"teacher is missing; it must be given"),
        (
            {**recipe(), "teachrs": 1},
            r"teachrs is not a key; known: about, paper, task, teacher, teachers, ensemble, student, urfm, views, sources, head, losses\.",
        ),
        (
            {"teacher": {"network": "r50", "wights": "a"}, "losses": recipe()["losses"]},
            r"teacher\.wights is not a key; .*'weights'",
        ),
        ({"teacher": {"network": "r50"}, "losses": ["cosine"]}, r"losses\[0\] is 'cosine'; expected keys and values"),
    ],
)
def test_what_does_not_belong_is_refused_in_one_line(content, message):
    with pytest.raises(RecipeError, match=message) as caught:
        parse_recipe(content, "recipe")
    assert "\n" not in str(caught.value)


def test_a_recipe_comes_back_whole_from_what_a_run_saves_of_it():
    content = {
        **recipe(schedule={"kind": "linear", "epochs": 2}),
        "student": {"weights": "a.pt"},
    }
    content["losses"].append({"loss": "mse", "weight": 1})
    parsed = parse_recipe(content, "recipe")
    assert type(parsed).model_validate(parsed.model_dump()) == parsed


def test_two_terms_of_one_name_are_refused():
    with pytest.raises(RecipeError, match="two terms are called 'cosine'"):
        parse_recipe({"teacher": {"network": "r50"}, "losses": recipe()["losses"] * 2}, "recipe")


def test_the_command_line_replaces_the_teachers_files(tmp_path: Path):
    path = tmp_path / "own.yaml"
    path.write_text("teacher: {network: r50, weights: a.pt}\nlosses: [{loss: cosine, weight: 1}]\n")
    loaded = load_recipe(str(path), given("b.pt", ["c.pt"], "d", "e.pt"))
    assert loaded.student is not None
    files = (loaded.teacher.weights, loaded.teacher.centres, loaded.teacher.prototypes, loaded.student.weights)
    assert files == ("b.pt", ["c.pt"], "d", "e.pt")
    assert load_recipe(str(path)).student is None


def test_a_file_that_is_not_a_recipe_is_refused(tmp_path: Path):
    path = tmp_path / "broken.yaml"
    path.write_text("teacher: [unclosed")
    with pytest.raises(RecipeError, match=r"recipe broken\.yaml: not YAML"):
        load_recipe(str(path))
    path.write_text("just text")
    with pytest.raises(RecipeError, match=r"holds a str; expected the keys teacher and losses"):
        load_recipe(str(path))


def test_an_unknown_name_lists_the_shipped_ones():
    with pytest.raises(RecipeError, match=r"recipe cosin: no such file.* Did you mean 'cosine'\?"):
        find_recipe("cosin")


@pytest.mark.parametrize("path", shipped_recipes(), ids=recipe_name)
def test_every_shipped_recipe_is_valid_says_what_it_does_and_is_found_by_its_name(path: Path):
    assert load_recipe(recipe_name(path)).about
    assert find_recipe(recipe_name(path)) == path


def test_every_registered_loss_has_a_shipped_recipe():
    used = {term.loss for path in shipped_recipes() for term in load_recipe(str(path)).losses}
    assert used == set(LOSSES)


def test_every_recipe_travels_in_the_wheel():
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    keywords = {node.arg: node.value for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    patterns = ast.literal_eval(keywords["package_data"])["insightface_cakd.recipes"]
    assert set(shipped_recipes()) <= {path for pattern in patterns for path in (ROOT / "recipes").glob(pattern)}


def test_what_an_older_run_saved_is_still_a_recipe():
    saved = parse_recipe(recipe(), "recipe").model_dump() | {"balance": None}
    assert Recipe.model_validate(saved) == parse_recipe(recipe(), "recipe")
