"""What docstrings say: their first line, their equation and their sections, in Markdown."""

import inspect
import re

TITLES = r"Args|Attributes|Edge cases|Example|Raises|Returns|Shape|Source|Units|Yields"
_SECTION = re.compile(rf"^({TITLES}):", re.MULTILINE)
_NAMES = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): ", re.MULTILINE)


def body(thing: type) -> str:
    """Return a docstring before its first section."""
    return _SECTION.split(inspect.cleandoc(thing.__doc__ or ""))[0].strip()


def summary(thing: type) -> str:
    """Return the first line of a docstring."""
    return body(thing).partition("\n")[0]


def section(thing: type, title: str) -> str:
    """Return a section of a class's own docstring in one line; empty if there is none."""
    return " ".join(_section(thing, title).split())


def _section(thing: type, title: str) -> str:
    pieces = _SECTION.split(inspect.cleandoc(vars(thing).get("__doc__") or ""))
    found = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    return inspect.cleandoc("\n" + found.get(title, ""))


def arguments(thing: type) -> dict[str, str]:
    """Return what a class and its bases say under Args, by name, each in one line."""
    said: dict[str, str] = {}
    for kind in reversed(thing.__mro__):
        pieces = _NAMES.split(_section(kind, "Args"))
        for names, text in zip(pieces[1::2], pieces[2::2], strict=True):
            said |= dict.fromkeys(names.replace("*", "").split(", "), " ".join(text.split()))
    return said
