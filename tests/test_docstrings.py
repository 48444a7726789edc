"""Docstrings are true: they name what signatures have, in its order, and errors that exist."""

import builtins
import importlib
import inspect
import pkgutil
import re
from functools import cache

from pydantic import BaseModel

import insightface_cakd
from insightface_cakd.losses import LOSSES
from tests.test_public_api import NAMES

SECTION = re.compile(r"^(Args|Attributes|Edge cases|Raises|Returns|Shape|Source|Units|Yields|Examples?):", re.MULTILINE)
WORDS = 12


@cache
def modules():
    names = [found.name for found in pkgutil.walk_packages(insightface_cakd.__path__, "insightface_cakd.")]
    return [insightface_cakd, *map(importlib.import_module, names)]


@cache
def public_things():
    """Return name -> public class, function or method that the package defines."""
    things = {}
    for module in modules():
        for name, value in vars(module).items():
            own = (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__
            if not own or name.startswith("_"):
                continue
            things[f"{module.__name__}.{name}"] = value
            members = vars(value).items() if inspect.isclass(value) else ()
            for member, method in members:
                function = getattr(method, "__func__", getattr(method, "fget", getattr(method, "func", method)))
                if not member.startswith("_") and inspect.isfunction(function):
                    things[f"{module.__name__}.{name}.{member}"] = function
    return things


def section(thing, title):
    """Return the lines of a docstring's section, without their indent."""
    pieces = SECTION.split(inspect.cleandoc(thing.__doc__ or ""))
    return dict(zip(pieces[1::2], pieces[2::2], strict=True)).get(title)


def entries(text):
    """Return the names that stand before the colons of a section: `a: ...`, `a, b: ...`."""
    return names_in(r"^", text)


def shapes(text):
    """Return the names of a section `Shape`, whose lines may go on: `a, b: ... . c: ...`."""
    return names_in(r"(?:^|[.;] )", text)


def names_in(start, text):
    found = re.findall(start + r"\*{0,2}(\w+(?:, \*{0,2}\w+)*):", inspect.cleandoc("\n" + (text or "")), re.MULTILINE)
    return [name.strip("* ") for names in found for name in names.split(",")]


def parameters(thing):
    """Return what a caller may give: fields of a model, arguments of a function or of a class's own constructor."""
    if inspect.isclass(thing) and issubclass(thing, BaseModel):
        return list(thing.model_fields)
    if inspect.isclass(thing):
        own = [vars(thing)[name] for name in ("__init__", "__new__") if name in vars(thing)]
        thing = own[0] if own else parameterless
    # A protocol has a constructor of typing's, and a class that implements it, once built, that of object.
    if thing is object.__init__ or getattr(thing, "__module__", "") == "typing":
        return []
    signature = inspect.signature(thing)
    return [name for name in signature.parameters if name not in ("self", "cls", "_cls") and name.strip("_")]


def parameterless():
    """Stand in for the constructor of a class that has none."""


def inherited(name):
    """Yield the methods that a method replaces: what they say of their arguments need not be said again."""
    owner, _, member = name.rpartition(".")
    kind = public_things().get(owner)
    for base in kind.__mro__[1:] if inspect.isclass(kind) else ():
        if inspect.isfunction(vars(base).get(member)):
            yield vars(base)[member]


def test_this_file_sees_the_names_of_a_docstring():
    def measure(rows, labels, far=1e-4):
        """Measure.

        Shape:
            rows: (B, D). ends: (B,).
        Args:
            labels: of the rows,
                not: this.
            fra: misspelt.

        Raises:
            DataError, RunError: never.
        """

    assert entries(section(measure, "Args")) == ["labels", "fra"]
    assert shapes(section(measure, "Shape")) == ["rows", "ends"]
    assert entries(section(measure, "Raises")) == ["DataError", "RunError"]
    assert parameters(measure) == ["rows", "labels", "far"]
    assert len(public_things()) > 300
    assert "insightface_cakd.losses.base.DistillLoss.compute" in public_api()


def test_every_module_says_what_it_is_for():
    faults = [module.__name__ for module in modules() if not (module.__doc__ or "").strip()]
    assert not faults, "\n".join(faults)


def test_the_arguments_of_a_docstring_are_those_of_the_signature_in_its_order():
    faults = []
    for name, thing in public_things().items():
        described, taken = entries(section(thing, "Args")), parameters(thing)
        unknown = [one for one in described if one not in taken]
        if unknown or described != [one for one in taken if one in described]:
            faults.append(f"{name}: Args has {', '.join(described)}; the signature {', '.join(taken)}")
    assert not faults, "\n".join(faults)


def public_api():
    """Return name -> what docs/api.md names, with the methods of its classes, and every loss."""
    api = {}
    for name in NAMES:
        module, _, last = name.rpartition(".")
        thing = getattr(importlib.import_module(module), last)
        # Named where it is imported from; found where it is defined. A package that is called stands for its function.
        thing = getattr(thing, "__wrapped__", thing)
        api |= {one: it for one, it in public_things().items() if it is thing or one.startswith(f"{full_name(thing)}.")}
    return api | {full_name(loss): loss for loss in LOSSES.values()}


def full_name(thing):
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"


def test_a_public_thing_names_each_parameter_under_args_or_shape():
    faults = []
    for name, thing in public_api().items():
        said = [thing, *inherited(name)]
        described = {one for text in said for one in [*entries(section(text, "Args")), *shapes(section(text, "Shape"))]}
        missing = [one for one in parameters(thing) if one not in described]
        if missing:
            faults.append(f"{name}: no Args or Shape of {', '.join(missing)}")
    assert len(public_api()) > 100
    assert not faults, "\n".join(faults)


def test_the_first_line_of_a_docstring_has_at_most_twelve_words():
    things = {module.__name__: module for module in modules()} | public_things()
    lines = {name: (thing.__doc__ or "").strip().partition("\n")[0] for name, thing in things.items()}
    faults = [f"{name}: {line}" for name, line in lines.items() if len(line.split()) > WORDS]
    assert not faults, "\n".join(faults)


def test_what_a_docstring_says_is_raised_exists():
    faults = []
    errors = importlib.import_module("insightface_cakd.errors")
    for name, thing in public_things().items():
        module = importlib.import_module(thing.__module__)
        for raised in entries(section(thing, "Raises")):
            found = [getattr(place, raised, None) for place in (module, errors, builtins)]
            if not any(inspect.isclass(kind) and issubclass(kind, BaseException) for kind in found):
                faults.append(f"{name} raises {raised}")
    assert not faults, "\n".join(faults)
