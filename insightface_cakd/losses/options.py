"""The options of a loss: constructor arguments, checked by annotations, without torch."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo, create_model

from insightface_cakd.errors import RecipeError

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
CONFIG = ConfigDict(
    extra="forbid",
    strict=True,
    validate_default=True,
    allow_inf_nan=False,
    arbitrary_types_allowed=True,
    protected_namespaces=(),
)


@dataclass(frozen=True)
class OldName:
    """An earlier name of an option, which recipes may still use."""

    name: str


def at_least(other: str) -> AfterValidator:
    """Return an annotation: not below another option, which stands before this one."""

    def check(value: float, info: ValidationInfo) -> float:
        least = info.data.get(other)
        if least is not None and value < least:
            raise ValueError(f"at least {other}, which is {least:g}")
        return value

    return AfterValidator(check)


def only_with(other: str, *choices: str) -> AfterValidator:
    """Return an annotation: only where an earlier option is among `choices`."""

    def check(value: object, info: ValidationInfo) -> object:
        if value is not None and info.data.get(other, choices[0]) not in choices:
            raise ValueError(f"none with {other}: {info.data[other]}, only with {' or '.join(choices)}")
        return value

    return AfterValidator(check)


def one_above_0(*others: str) -> AfterValidator:
    """Return an annotation: above 0 where all earlier weights are 0."""

    def check(value: float, info: ValidationInfo) -> float:
        if value == 0 and all(info.data.get(other, 1) == 0 for other in others):
            raise ValueError(f"a number above 0 where {' and '.join(others)} are 0")
        return value

    return AfterValidator(check)


@functools.cache
def options_model(constructor: Callable[..., None]) -> type[BaseModel]:
    """Return the options of a constructor, with what each may be."""
    hints = get_type_hints(constructor, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints.get(name, Any), ... if taken.default is taken.empty else taken.default)
        for name, taken in _parameters(constructor).items()
    }
    return create_model("Options", __config__=CONFIG, **fields)


@functools.cache
def _parameters(constructor: Callable[..., None]) -> dict[str, inspect.Parameter]:
    taken = inspect.signature(constructor).parameters
    return {name: one for name, one in taken.items() if name != "self" and one.kind in NAMED}


@functools.cache
def option_names(constructor: Callable[..., None]) -> dict[str, str]:
    """Return every name of an option in recipes, with its present name."""
    names = {name: name for name in _parameters(constructor)}
    for name, field in options_model(constructor).model_fields.items():
        names |= {old.name: name for old in field.metadata if isinstance(old, OldName)}
    return names


def by_todays_names(constructor: Callable[..., None], given: Mapping[str, object]) -> dict[str, object]:
    """Return options by today's names; none may be given by both."""
    names, found = option_names(constructor), {}
    for key, value in given.items():
        name = names.get(key, key)
        if name in found:
            raise RecipeError(f"'{key}' and '{name}' are names of one option; expected one of them. Remove the other.")
        found[name] = value
    return found


def check_options(constructor: Callable[..., None], given: Mapping[str, object], where: str) -> None:
    """Refuse options of a loss's constructor that cannot be meant."""
    model = options_model(constructor)
    try:
        model.model_validate(dict(given))
    except ValidationError as error:
        problem = error.errors()[0]
        option = str(problem["loc"][0])
        if problem["type"] == "missing":
            raise RecipeError(f"{where}: {option} is missing; it must be given.") from error
        expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if problem["type"] != "value_error":
            expected = model.model_fields[option].description or expected
        raise RecipeError(f"{where}: {option} is {problem['input']!r}; expected {expected}.") from error


def checked(constructor: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that checks its arguments by their annotations first."""
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def build(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs).arguments
        given = {name: bound[name] for name in _parameters(constructor) if name in bound}
        check_options(constructor, given, type(self).title())
        constructor(self, *args, **kwargs)

    return build
