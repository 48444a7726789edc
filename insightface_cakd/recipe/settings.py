"""Changes to a recipe from the command line: `teacher.weights=FILE`, `losses.cosine.weight=32`."""

import copy
import json
from collections.abc import Iterable, Sequence
from typing import Any

from insightface_cakd.errors import RecipeError, did_you_mean
from insightface_cakd.recipe.teacher import network_of
from insightface_cakd.runtime.strict_yaml import YAMLError, read_yaml

OPTION = "--recipe-set"


def given(
    teacher: str | None = None,
    centres: Sequence[str] | None = None,
    prototypes: str | None = None,
    init: str | None = None,
    more: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Return the settings of `--teacher`, `--centres`, `--prototypes` and `--init`, then `more`."""
    values = {
        "teacher.weights": teacher,
        "teacher.centres": list(centres or ()),
        "teacher.prototypes": prototypes,
        "student.weights": init,
    }
    # Quoted, so that a file called 2048 or [a] stays text.
    short = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value)
    return (*short, *(more or ()))


def changed(content: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Return a copy of a recipe's content, changed by settings `KEY=VALUE`.

    A key has dots as the file nests, a term by its name; values are YAML. Whether a key exists is checked later, with the recipe. Weights
    of a teacher that tell their network (a cache of embeddings, an ONNX file, those of a run) replace its `network` too.
    """
    content = copy.deepcopy(content)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (key and equals):
            raise RecipeError(
                f"{OPTION} {setting}: no '='; expected KEY=VALUE, for example {OPTION} teacher.weights=FILE."
            )
        try:
            value = read_yaml(text)
        except YAMLError as error:
            raise RecipeError(
                f"{OPTION} {setting[:200]}: the value is not YAML ({error}); expected a value of the key. Put it in "
                "quotes."
            ) from error
        keys = key.split(".")
        if keys[0] == "task" and isinstance(content.get("task"), str):
            content["task"] = {"kind": content["task"]}
        several = content.get("teachers")
        if keys[0] == "teacher" and len(keys) > 1 and isinstance(several, dict) and several:
            # The one teacher of an option is the first of several.
            keys = ["teachers", next(iter(several)), *keys[1:]]
        if keys[0] == "teachers":
            # Several teachers replace the one of the recipe; in a saved recipe it is the first of them.
            content.pop("teacher", None)
        _put(content, keys, value, f"{OPTION} {setting}")
        of_teacher = keys[0] in ("teacher", "teachers") and keys[-1] == "weights"
        if of_teacher and isinstance(value, str) and (network := network_of(value)):
            _put(content, [*keys[:-1], "network"], network, setting)
    return content


def _put(place: Any, keys: list[str], value: Any, where: str) -> None:
    """Set a value; parts that the recipe does not have are made."""
    first, *below = keys
    if isinstance(place, list):
        place = {str(item.get("name", item.get("loss"))): item for item in place if isinstance(item, dict)}
        if first not in place or not below:
            known = f"its terms: {', '.join(place)}.{did_you_mean(first, place)}"
            raise RecipeError(f"{where}: '{first}' is no term's key; expected losses.TERM.KEY; {known}")
    if not isinstance(place, dict):
        raise RecipeError(f"{where}: nothing lies below {place!r}; expected a part of the recipe. Correct it.")
    if not below:
        place[first] = value
        return
    if place.get(first) is None:
        place[first] = {}
    _put(place[first], below, value, where)
