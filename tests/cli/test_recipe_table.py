"""The table of the shipped recipes: derived, complete, and as wide as a terminal."""

import pytest

from insightface_cakd.cli.recipe_table import NEEDS, WIDTH, cost, list_recipes, memory, needs, source
from insightface_cakd.losses import LOSSES
from insightface_cakd.recipe import load_recipe, recipe_name, shipped_recipes

SHIPPED = {recipe_name(path): load_recipe(str(path)) for path in shipped_recipes()}


def test_every_recipe_stands_on_one_line_and_no_line_is_wider_than_100():
    text = list_recipes(SHIPPED)
    table, legend, *folders = text.split("\n\n")
    names = [line.split()[0] for line in table.splitlines()[2:]]
    assert names == [name for name in SHIPPED if "/" not in name]
    assert max(map(len, text.splitlines())) <= WIDTH
    assert [block.splitlines()[0] for block in folders] == ["ablations"]
    assert all(f"{name}: " in folders[0] for name in SHIPPED if "/" in name)
    assert all(f"{need}:" in legend for need in NEEDS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cosine", (("cosine", ""), ["emb"], [], "F")),
        ("cached", (("cosine", ""), ["emb"], [], "look")),
        ("gkd", (("GKD", "2304.04462"), ["centres"], ["2NC/R"], "F+H")),
        ("ekd", (("EKD", "2206.02325"), ["emb", "labels"], ["N(N+queue)"], "F")),
        ("rkd", (("RKD", "1904.05068"), ["emb"], ["N^2", "N^3"], "F")),
        ("fitnet_map", (("FitNets", "1412.6550"), ["tok"], [], "F")),
        ("transfer_kd", (("Transfer", "1709.02929"), ["centres"], ["2NC/R"], "F+H")),
        ("cakd_margin", (("CAKD", "2306.14662"), ["emb", "tok", "prompts", "centres"], ["2NC/R", "graph"], "2F+B+H")),
        ("urfm_apt", (("CAKD", "2306.14662"), ["emb", "tok", "prompts"], ["graph"], "2F+B")),
    ],
)
def test_what_a_recipe_needs_is_read_off_it(name, expected):
    recipe = SHIPPED[name]
    assert (source(recipe), needs(recipe), memory(recipe), cost(recipe)) == expected


def test_embeddings_of_a_cache_spare_prompts_the_second_forward():
    recipe = load_recipe("cakd")
    recipe.teacher.prompts.plain = "cache"
    assert cost(recipe) == "F+B"


def test_every_recipe_with_a_teacher_needs_something_and_every_loss_names_its_method():
    # CKD has no teacher: the two networks of its task teach each other.
    assert [name for name, recipe in SHIPPED.items() if not needs(recipe) and (recipe.terms or recipe.head)] == []
    assert needs(SHIPPED["ckd"]) == []
    assert all(source(recipe)[0] for recipe in SHIPPED.values())
    assert all(kind.paper for kind in LOSSES.values())
