"""The part `head` of a recipe: it may stand alone, and refuses what it would not read."""

import pytest

from insightface_cakd.errors import RecipeError
from insightface_cakd.recipe import Recipe, load_recipe, parse_recipe
from tests.commands import cakd

TEACHER = {"network": "vit_tiny"}
COSINE = [{"loss": "cosine", "weight": 1}]
KD = [{"loss": "kd", "weight": 1}]


def recipe(head, losses=None):
    content = {"teacher": TEACHER, "head": head}
    return parse_recipe(content if losses is None else content | {"losses": losses}, "recipe")


def test_a_head_needs_no_losses_and_may_have_some():
    assert recipe({"centres": "average"}).losses == []
    assert recipe({"centres": "teacher"}, []).head.margin == "host"
    assert [term.name for term in recipe({"centres": "teacher"}, KD).losses] == ["kd"]


def test_defaults_are_filled_in_where_they_are_read():
    assert recipe({"centres": "teacher"}).head.model_dump() == {
        "centres": "teacher", "margin": "host", "m_min": None, "m_max": None, "m": None, "h": None, "alpha": None,
        "geometry": None, "gradient": "host",
    }  # fmt: skip
    quality = recipe({"centres": "teacher", "margin": "quality", "m_max": 0.6}).head
    assert (quality.m_min, quality.m_max) == quality.margins == (0.2, 0.6)
    assert recipe({"centres": "average"}).head.alpha == "both"


@pytest.mark.parametrize("head", [{"centres": "teacher", "margin": "quality"}, {"centres": "average"}], ids=str)
def test_a_saved_recipe_is_the_same_recipe(head):
    saved = recipe(head)
    assert Recipe.model_validate(saved.model_dump()) == saved


def test_who_needs_the_teachers_centres_and_its_embeddings():
    said = {}
    for name in ("proxylesskd", "margin_distillation", "adadistill", "kd", "cosine"):
        loaded = load_recipe(name)
        said[name] = (
            loaded.needs_centres,
            loaded.needs_logits,
            loaded.head is not None and loaded.head.reads_embedding,
        )
    assert said == {
        "proxylesskd": (True, False, False),
        "margin_distillation": (True, False, True),
        "adadistill": (False, False, True),
        "kd": (True, True, False),
        "cosine": (False, False, False),
    }


@pytest.mark.parametrize(
    ("head", "losses", "message"),
    [
        (None, [], r"recipe: losses is \[\]; expected at least one term, or a part `head`"),
        (None, None, r"recipe: losses is \[\]; expected at least one term, or a part `head`"),
        ({}, COSINE, r"recipe: head\.centres is missing; it must be given"),
        ("teacher", COSINE, r"recipe: head is 'teacher'; input should be"),
        ({"centres": "students"}, COSINE, r"recipe: head\.centres is 'students'; input should be 'teacher', 'average' or 'learnt'"),
        ({"centers": "teacher"}, COSINE, r"recipe: head\.centers is not a key; known: centres, .*'centres'\?"),
        ({"centres": "average", "margin": "quality"}, None, r"head\.margin: quality with centres: average; .*centres: teac"),
        ({"centres": "teacher", "m_min": 0.1}, None, r"head\.m_min: is read with margin: quality only"),
        ({"centres": "average", "m_max": 0.1}, None, r"head\.m_max: is read with margin: quality only"),
        ({"centres": "teacher", "alpha": "simple"}, None, r"head\.alpha: is read with centres: average only"),
        ({"centres": "average", "alpha": 0.9}, None, r"recipe: head\.alpha is 0\.9; input should be 'both' or 'simple'"),
        ({"centres": "teacher", "margin": "quality", "m_min": 0.6}, None, r"head\.m_min: 0\.6 exceeds head\.m_max 0\.5"),
        ({"centres": "teacher", "margin": "quality", "m_min": -0.1}, None, r"head\.m_min is -0\.1; input should be great"),
        ({"centres": "teacher", "margin": "quality", "m_max": 4.0}, None, r"head\.m_max is 4\.0; input should be less"),
        ({"centres": "teacher", "margin": "quality", "m_max": float("nan")}, None, r"head\.m_max is nan; input should be"),
        ({"centres": "teacher", "margin": "quality"}, KD, r"recipe: term 'kd' compares logits with the host's margin, .*"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(head, losses, message):
    with pytest.raises(RecipeError, match=message) as raised:
        recipe(head, losses)
    assert "\n" not in str(raised.value)


def test_the_command_line_says_what_a_head_does():
    checked = cakd("recipes", "check", "margin_distillation").out.splitlines()
    assert checked[1].startswith(
        "head: the teacher's class centres, frozen, margin by quality; MarginDistillation (2003."
    )
    assert checked[-2:] == [
        "needs: the teacher's embedding, the teacher's class centres (--centres)",
        "margin_distillation: valid",
    ]
    listed = {line.split()[0]: line.split()[1:] for line in cakd("recipes", "list").out.splitlines() if line.strip()}
    assert listed["proxylesskd"] == ["ProxylessKD", "2011.00265", "centres", "none"]
    assert listed["adadistill"] == ["AdaDistill", "2407.01332", "emb", "F"]
