"""The page of every key: of recipes, losses, views, tasks and configs, as their own models have them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from docs.generator import anchor
from docs.generator.docstrings import arguments, body, summary
from docs.generator.values import default_of, in_words, table
from insightface_cakd.hosts.embedded.configs.base import config as base
from insightface_cakd.hosts.embedded.utils.utils_config import CONFIGS
from insightface_cakd.hosts.job_spec import CheckoutJobSpec, EmbeddedJobSpec
from insightface_cakd.losses import LOSSES, facts_of
from insightface_cakd.losses.options import options_model
from insightface_cakd.recipe import Recipe
from insightface_cakd.recipe.named import NamedSpec
from insightface_cakd.tasks.known import TASKS
from insightface_cakd.views.sides import VIEWS

COLUMNS = ("key", "values", "default", "what it is")
INTRO = """# Every key

Written by `make pages` from the models that check a recipe, from the constructors of losses, views and tasks, and from the base config;
a test compares. An empty default: nothing, or what the last column says. How the keys work together: [recipes.md](recipes.md).
On the command line, `--recipe-set KEY=VALUE` sets a key of a recipe (`losses.TERM.KEY` by the term's name) and `--set KEY=VALUE` one of
a config.
"""
LOSSES_TEXT = """## Options of losses

An option is a key of the term, beside those of [`losses[]`](#losses). What each loss computes: [the methods](methods/README.md)."""
CONFIG_TEXT = """## Configs

A config is a Python file that sets `config`, as in arcface_torch. The embedded host's defaults are `configs/base.py`:"""
CHECKOUT_TEXT = (
    """On a checkout the config is its own, with defaults of its own. {} must be set. Checked otherwise there:"""
)
SHIPPED_TEXT = """What the shipped configs set:"""


def keys_page() -> str:
    """Return the page in Markdown."""
    blocks = [INTRO, "## Recipes", *_recipe(), LOSSES_TEXT, *_losses(), "## Options of views", _options(VIEWS, "view")]
    blocks += ["## Options of tasks", _options(TASKS, "task"), *_configs()]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def _recipe() -> Iterator[str]:
    """Yield a table of each part of a recipe, by the keys that lead to it."""
    places: dict[type[BaseModel], list[str]] = {}
    for place, model in _parts(Recipe, ""):
        places.setdefault(model, []).append(place)
    words = {model.__name__: f"[`{where[0]}`](#{anchor(where[0])})" for model, where in places.items()}
    words[NamedSpec.__name__] = "a name, or [`kind`](#task) with options"
    named: dict[type[BaseModel], list[str]] = {Recipe: ["recipe"], **places}
    for model, (place, *more) in named.items():
        also = f" The same under {', '.join(f'`{one}`' for one in more)}." if more else ""
        yield f"### {place}\n\n{body(model)}{also}\n\n{_keys_of(model, words)}"


def _parts(model: type[BaseModel], before: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        for suffix, below in _models(field.annotation):
            place = f"{before}{name}{suffix}"
            yield place, below
            yield from _parts(below, f"{place}.")


def _models(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the models in an annotation, with what a key to them has behind it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
    outer = get_origin(annotation)
    suffix = "[]" if outer is list else ".NAME" if outer is dict else ""
    for inner in get_args(annotation):
        yield from ((suffix + more, model) for more, model in _models(inner))


def _keys_of(model: type[BaseModel], words: Mapping[str, str]) -> str:
    said = arguments(model)
    rows = [(f"`{name}`", *cells, said.get(name, "")) for name, *cells in _fields(model, words)]
    return table(COLUMNS, rows)


def _fields(model: type[BaseModel], words: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield each key of a model with its values and its default."""
    schema = model.model_json_schema()
    for name, field in schema.get("properties", {}).items():
        yield name, in_words(field, words), default_of(field, name in schema.get("required", []))


def _losses() -> Iterator[str]:
    yield _options({name: facts_of(name) for name in LOSSES}, "loss")


def _options(kinds: Mapping[str, Any], what: str) -> str:
    """Return a table of the options of classes by name, and the names of those that have none."""
    rows, without = [], []
    for name, kind in kinds.items():
        said = arguments(kind)
        found = list(_fields(options_model(kind.__init__), {}))
        rows += [(f"`{name}`", f"`{option}`", *cells, said.get(option, "")) for option, *cells in found]
        without += [] if found else [f"`{name}` ({_uncapitalised(summary(kind))})"]
    none = f"\n\nWithout options: {'; '.join(without)}." if without else ""
    return table((what, "option", *COLUMNS[1:]), rows) + none


def _uncapitalised(line: str) -> str:
    return line[:1].lower() + line[1:].rstrip(".")


def _configs() -> Iterator[str]:
    yield CONFIG_TEXT
    comments = _comments(CONFIGS / "base.py")
    values = _ranges(EmbeddedJobSpec)
    rows = [(f"`{key}`", values.get(key, _kind(value)), _python(value), comments[key]) for key, value in base.items()]
    yield table(COLUMNS, rows)
    yield CHECKOUT_TEXT.format(_listed(CheckoutJobSpec.NEEDED))
    there = _ranges(CheckoutJobSpec)
    yield table(COLUMNS[:2], [(f"`{key}`", words) for key, words in there.items() if words != values.get(key)])
    yield SHIPPED_TEXT
    shipped = sorted(path for path in CONFIGS.glob("*.py") if path.stem not in ("__init__", "base"))
    sets = [(f"`{path.stem}`", ", ".join(f"`{key}={text}`" for key, text in _settings(path))) for path in shipped]
    yield table(("config", "sets"), sets)


def _ranges(spec: type[BaseModel]) -> dict[str, str]:
    """Return the values of a config's keys; their descriptions are the words of error lines."""
    fields = spec.model_json_schema()["properties"].items()
    return {
        name: in_words({key: one for key, one in field.items() if key != "description"}, {}) for name, field in fields
    }


def _settings(path: Path) -> list[tuple[str, str]]:
    """Return the keys that a config's file sets, with their values as written."""
    return re.findall(r"^config\.(\w+) = (.+?)(?:  #.*)?$", path.read_text("utf-8"), re.MULTILINE)


def _comments(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^config\.(\w+) = .+?  # (.+)$", path.read_text("utf-8"), re.MULTILINE))


def _kind(value: object) -> str:
    return {bool: "True or False", str: "text"}.get(type(value), "")


def _python(value: object) -> str:
    return "" if value is None else f"`{value!r}`"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
