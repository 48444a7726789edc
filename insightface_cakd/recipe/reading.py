"""Reads recipes strictly: unknown keys are refused, known ones named."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from insightface_cakd.errors import RecipeError, did_you_mean
from insightface_cakd.losses import facts_of
from insightface_cakd.losses.options import option_names
from insightface_cakd.recipe.parts import check_parts
from insightface_cakd.recipe.problems import first_problem
from insightface_cakd.recipe.settings import changed
from insightface_cakd.recipe.shipped import find_recipe
from insightface_cakd.recipe.spec import Recipe, TermSpec
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.runtime.reading import reading
from insightface_cakd.runtime.strict_yaml import LARGEST, YAMLError, read_yaml


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe by path or by shipped name.

    Args:
        name: path of a YAML file, or a name as `cakd recipes list` shows it.
        settings: `KEY=VALUE`, which replace values of the file; see `changed`.

    Raises:
        RecipeError: the file does not exist, or it is not a valid recipe with these settings; the message names the key.
    """
    where = f"recipe {(path := find_recipe(name)).name}"
    with reading(where, RecipeError, "a text file of keys and values. Correct it.", UnicodeDecodeError):
        if path.stat().st_size > LARGEST:
            raise RecipeError(
                f"{where}: {path.stat().st_size} bytes; expected a recipe, of at most {LARGEST}. Is it another file?"
            )
        text = path.read_text(encoding="utf-8")
    try:
        content = read_yaml(text)
    except YAMLError as error:
        raise RecipeError(
            f"{where}: not YAML ({error}); expected keys and values: text, numbers, lists, no key twice, no tags. Correct it."
        ) from error
    if not isinstance(content, dict):
        raise RecipeError(f"{where}: holds a {type(content).__name__}; expected the keys teacher and losses.")
    return parse_recipe(content, where, settings)


def with_stages(recipe: Recipe) -> list[Recipe]:
    """Return a recipe and those of its stages, its own first.

    Raises:
        RecipeError: as `load_recipe`, or a stage's recipe leads back to itself.
    """
    return [recipe, *(_of_stage(name) for name in _stages(recipe))]


def _stages(recipe: Recipe) -> list[str]:
    return [] if recipe.student is None else [one.recipe for one in recipe.student.stages if one.recipe is not None]


def _of_stage(name: str, above: tuple[Path, ...] = ()) -> Recipe:
    path = find_recipe(name)
    if path in above:
        raise RecipeError(
            f"recipe: student.stages: {name} is a stage of itself; expected stages that end. Name another recipe."
        )
    recipe = load_recipe(name)
    for below in _stages(recipe):
        _of_stage(below, (*above, path))
    return recipe


def parse_recipe(content: dict[str, Any], where: str, settings: Sequence[str] = ()) -> Recipe:
    """Check a recipe's content key by key.

    Args:
        content: the mapping that the YAML file holds.
        where: beginning of every error message.
        settings: `KEY=VALUE`, which replace values of the content; see `changed`.

    Raises:
        RecipeError: an unknown key or loss, a missing or ill-typed value, two terms of one name.
    """
    try:
        return _parse(changed(content, settings), where)
    except RecipeError:
        # A fault of the recipe itself is reported before one of the settings.
        _parse(content, where)
        raise


def _parse(content: dict[str, Any], where: str) -> Recipe:
    content = dict(content)
    if isinstance(content.get("losses"), list):
        content["losses"] = [_term(item, f"{where}: losses[{i}]") for i, item in enumerate(content["losses"])]
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{where}: {first_problem(error, Recipe)}") from error
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    names = [term.name for term in recipe.losses]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(f"{where}: two terms are called '{twice}'; expected different names. Give one a `name`.")
    for number, term in enumerate(recipe.losses):
        _try_options(term, f"{where}: losses[{number}]")
    check_parts(recipe, where)
    return recipe


def _term(item: Any, where: str) -> dict[str, Any]:
    """Split a term's flat keys into term keys and loss options."""
    if not isinstance(item, dict) or "loss" not in item:
        raise RecipeError(f"{where} is {item!r}; expected keys and values, `loss` among them. See `cakd recipes list`.")
    facts = facts_of(str(item["loss"]), f"{where}.loss")
    with foreign(
        f"{where}.loss {item['loss']}",
        RecipeError,
        "a constructor whose annotations can be read. Correct it.",
        of=facts,
    ):
        names = option_names(facts.__init__)
    own = set(TermSpec.model_fields) - {"options"}
    for key in item:
        if key not in own | names.keys():
            known = sorted(own | set(names.values()))
            raise RecipeError(
                f"{where}.{key} is not a key of {facts.title()}; known: {', '.join(known)}.{did_you_mean(str(key), known)}"
            )
    term = {key: value for key, value in item.items() if key in own}
    term["options"] = {key: value for key, value in item.items() if key in names}
    if isinstance(term.get("weight"), int) and not isinstance(term["weight"], bool):
        term["weight"] = float(term["weight"])
    return {"name": facts.title(), **term}


def _try_options(term: TermSpec, where: str) -> None:
    """Refuse options out of range when the recipe is read."""
    try:
        term.check_options()
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
