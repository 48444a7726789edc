"""Pages that come from the code are as it is now, and leave nothing out."""

import re

import pytest

from docs.generator import ROOT, methods
from docs.generator.docstrings import arguments
from docs.generator.lab_book import gains
from docs.generator.values import default_of, in_words
from docs.generator.written import written_pages
from insightface_cakd.hosts.embedded.configs.base import config
from insightface_cakd.losses import LOSSES, facts_of
from insightface_cakd.losses.options import option_names, options_model
from insightface_cakd.recipe.spec import Recipe, TermSpec
from insightface_cakd.recipe.teacher import TeacherSpec
from insightface_cakd.recipe.urfm import URFMSpec
from insightface_cakd.tasks.known import TASKS
from insightface_cakd.views.sides import VIEWS

WRITTEN = written_pages()
KEYS = WRITTEN["docs/keys.md"]
METHODS = {name: text for name, text in WRITTEN.items() if "/methods/" in name and "README" not in name}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_page_is_what_make_pages_writes(name):
    path = ROOT / name
    assert path.is_file(), f"{name} is missing; run `make pages`"
    assert path.read_text("utf-8") == WRITTEN[name], f"{name} is old; run `make pages`"


def rows(text):
    """Return the cells of all tables of a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize(
    ("heading", "model"), [("recipe", Recipe), ("teacher", TeacherSpec), ("losses[]", TermSpec), ("urfm", URFMSpec)]
)
def test_every_key_of_a_part_has_its_line(heading, model):
    part = KEYS.split(f"\n### {heading}\n")[1].split("\n#")[0]
    assert [row[0].strip("`") for row in rows(part)] == list(model.model_fields)


def test_every_option_and_config_key_has_its_line():
    listed = {(row[0].strip("`"), row[1].strip("`")) for row in rows(KEYS)}
    kinds = {name: facts_of(name) for name in LOSSES} | VIEWS | TASKS
    wanted = {(name, option) for name, kind in kinds.items() for option in set(option_names(kind.__init__).values())}
    assert len(wanted) > 60
    assert wanted <= listed
    configs = KEYS.split("\n## Configs\n")[1]
    assert {row[0].strip("`") for row in rows(configs)} >= set(config)
    assert all(f"`{name}`" in KEYS for name in kinds)


def test_every_line_says_what_its_key_is():
    assert [row for row in rows(KEYS) if len(row) > 3 and not row[-1]] == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 4096}, "whole number, 0 to 4096"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number, above 0, at most 1"),
        ({"type": "integer", "minimum": 1, "maximum": 10**12}, "whole number, at least 1"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"enum": ["rgb", "bgr"], "type": "string"}, "`rgb`, `bgr`"),
        ({"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}, "list of 3: number"),
        ({"$ref": "#/$defs/Part"}, "a part"),
        ({"type": "object", "additionalProperties": {"type": "boolean"}}, "NAME: `true` or `false`"),
    ],
)
def test_values_in_words(schema, words):
    assert in_words(schema, {"Part": "a part"}) == words


def test_defaults_as_a_recipe_writes_them():
    assert default_of({"default": True}, False) == "`true`"
    assert default_of({"default": None}, False) == ""
    assert default_of({"default": 0.5}, False) == "`0.5`"
    assert default_of({}, True) == "must be given"


def test_arguments_of_bases_are_read_and_lines_joined():
    class Base:
        """Be.

        Args:
            a, b: first
                line.
        """

    class Kind(Base):
        """Be more.

        Args:
            c: third.
        """

    assert arguments(Kind) == {"a": "first line.", "b": "first line.", "c": "third."}
    assert options_model(Kind.__init__).model_fields == {}


def test_every_recipe_is_on_the_page_of_one_method_and_in_the_index():
    names = [path.stem for path in (ROOT / "recipes").glob("*.yaml")]
    assert len(names) > 40
    for name in names:
        pages = [page for page, text in METHODS.items() if f"\n* `{name}`: " in text]
        assert len(pages) == 1, (name, pages)
        assert f"({pages[0].rpartition('/')[2]})" in WRITTEN["docs/methods/README.md"]


def test_every_loss_has_its_equation_and_source_on_a_page():
    whole = "\n".join(METHODS.values())
    for name in LOSSES:
        said = whole.split(f"\n### {name}\n", 1)
        assert len(said) == 2, name
        assert "```text\n" in said[1].split("\n#")[0], name
        assert "* Source: " in said[1].split("\n#")[0], name


def test_gains_are_those_of_the_lab_book():
    found = [(gain.recipe, gain.seeds, gain.accuracy, gain.points) for gain in gains()]
    assert ("kd", 3, "86.37 (0.35)", "**+7.35** (1.11)") in found
    assert ("kd", 1, "88.67", "**+0.67**") in found
    assert ("cached", 2, "89.83 (0.00)", "**+2.33** (0.71)") in found
    assert not any(name in ("alone", "teacher") for name, *_ in found)


def test_what_a_task_leaves_to_another_class_is_on_its_page_too():
    for method, name in (
        ("ckd", "ConsistentHeads"),
        ("dtda", "DomainAttack"),
        ("margindistillation", "head.margin: quality"),
    ):
        assert f"\n### {name}\n" in WRITTEN[f"docs/methods/{method}.md"]


def test_a_method_leads_to_the_page_of_its_system():
    for name, page in (
        ("aird", "low_resolution"),
        ("ckd", "periocular"),
        ("dtda", "liveness"),
        ("gkd", "gkd"),
        ("lora", "teachers"),
    ):
        assert f"(../{page}.md)" in WRITTEN[f"docs/methods/{name}.md"]


def test_a_new_recipe_brings_its_page(tmp_path, monkeypatch):
    path = tmp_path / "fresh.yaml"
    path.write_text("about: new\npaper: Fresh (2501.00001)\nteacher: {network: r50}\nlosses: [{loss: kd, weight: 1}]\n")
    monkeypatch.setattr(methods, "shipped_recipes", lambda: [path])
    pages = methods.method_pages()
    assert set(pages) == {"docs/methods/README.md", "docs/methods/fresh.md"}
    assert "https://arxiv.org/abs/2501.00001" in pages["docs/methods/fresh.md"]
    assert "--distill fresh --teacher TEACHER --centres CENTRES" in pages["docs/methods/fresh.md"]
