"""Reads YAML strictly: plain values, no key twice, nothing that grows."""

from collections.abc import Callable
from typing import Any

import yaml

from insightface_cakd.errors import in_one_line

# Characters of a text, and of what its aliases make of it; a recipe has a few thousand.
LARGEST = 1 << 20
# Brackets within brackets; a recipe has six.
DEEPEST = 32
# Characters of a number.
LONGEST_NUMBER = 64
# The parser of libyaml, if PyYAML has it, halves the time for the table of all shipped recipes.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_RESOLVER = yaml.resolver.Resolver()
_VALUES = yaml.constructor.SafeConstructor()
_PLAIN: dict[str, Callable[[yaml.ScalarNode], Any]] = {
    f"{_TAG}null": _VALUES.construct_yaml_null,
    f"{_TAG}bool": _VALUES.construct_yaml_bool,
    f"{_TAG}int": _VALUES.construct_yaml_int,
    f"{_TAG}float": _VALUES.construct_yaml_float,
}


class YAMLError(ValueError):
    """A text is no strict YAML; the message says where."""


def read_yaml(text: str) -> Any:
    """Return what a YAML text says.

    Values are dicts with text as keys, lists, text, numbers, booleans and None; a date stays text. Anchors may be used again, also by the
    merge key `<<`.

    Raises:
        YAMLError: broken YAML; a key twice, or one that is no text; a tag; more than one document; a number beyond 64 bits; text with NUL
            or half a character; more than `LARGEST` characters, aliases counted as what they stand for; more than `DEEPEST` levels.
    """
    if len(text) > LARGEST:
        raise YAMLError(f"{len(text)} characters, more than {LARGEST}")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise YAMLError(in_one_line(error)) from error
    return builder.whole


class _Part:
    """A mapping or list that is being read."""

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None) -> None:
        self.value, self.anchor = value, anchor
        self.size = 1
        self.key: str | None = None
        self.merges = False
        self.merged: list[dict[str, Any]] = []

    def close(self) -> Any:
        """Return the value; what is merged in comes first and is overridden."""
        if isinstance(self.value, list) or not self.merged:
            return self.value
        whole: dict[str, Any] = {}
        for one in reversed(self.merged):
            whole |= one
        return whole | self.value


class _Builder:
    """Makes values of the parser's events, without recursion."""

    def __init__(self) -> None:
        self.whole: Any = None
        self.documents = 0
        self.size = 0
        self.open: list[_Part] = []
        # Value and size of each anchor; None while what it names is being read.
        self.anchors: dict[str, tuple[Any, int] | None] = {}

    def take(self, event: yaml.Event) -> None:
        """Take the next event of the text."""
        where = f"line {event.start_mark.line + 1 if event.start_mark is not None else '?'}"
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise YAMLError(f"{where}: a second document")
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event, where)
        elif isinstance(event, yaml.ScalarEvent):
            value, merges = _scalar(event, where)
            self._keep(event.anchor, value, len(event.value) + 1)
            self._put(value, len(event.value) + 1, where, merges)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._begin(event, where)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            part = self.open.pop()
            value = part.close()
            self._keep(part.anchor, value, part.size)
            self._put(value, part.size, where, grown=True)

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, where: str) -> None:
        is_map = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, f"{_TAG}{'map' if is_map else 'seq'}"):
            raise YAMLError(f"{where}: the tag {event.tag}")
        if len(self.open) == DEEPEST:
            raise YAMLError(f"{where}: more than {DEEPEST} levels")
        if (
            self.open
            and isinstance(self.open[-1].value, dict)
            and self.open[-1].key is None
            and not self.open[-1].merges
        ):
            raise YAMLError(f"{where}: a key that is a {'mapping' if is_map else 'list'}")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.open.append(_Part({} if is_map else [], event.anchor))
        self._grow(1, where)

    def _alias(self, event: yaml.AliasEvent, where: str) -> None:
        if event.anchor not in self.anchors:
            raise YAMLError(f"{where}: no anchor '{event.anchor}' before")
        found = self.anchors[event.anchor]
        if found is None:
            raise YAMLError(f"{where}: '{event.anchor}' contains itself")
        self._put(*found, where)

    def _keep(self, anchor: str | None, value: Any, size: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = value, size

    def _grow(self, size: int, where: str) -> None:
        """Count what is read, before anything is made of it."""
        self.size += size
        if self.size > LARGEST:
            raise YAMLError(f"{where}: more than {LARGEST} characters, aliases counted as what they stand for")

    def _put(self, value: Any, size: int, where: str, merges: bool = False, grown: bool = False) -> None:
        """Put a value where it stands: in the last open part, or as the whole."""
        if not grown:
            self._grow(size, where)
        if not self.open:
            self.whole = value
            return
        part = self.open[-1]
        part.size += size
        if isinstance(part.value, list):
            part.value.append(value)
        elif part.merges:
            part.merged += _mappings(value, where)
            part.merges = False
        elif part.key is not None:
            part.value[part.key] = value
            part.key = None
        elif merges:
            part.merges = True
        elif not isinstance(value, str):
            raise YAMLError(
                f"{where}: the key {value!r}, which is a {type(value).__name__} and no text, unless it is put in quotes"
            )
        elif value in part.value:
            raise YAMLError(f"{where}: the key '{value}' a second time")
        else:
            part.key = value


def _scalar(event: yaml.ScalarEvent, where: str) -> tuple[Any, bool]:
    """Return the value of a scalar, and whether it is the merge key."""
    text: str = event.value
    if event.tag not in (None, "!", f"{_TAG}str"):
        raise YAMLError(f"{where}: the tag {event.tag}")
    if not is_plain(text):
        raise YAMLError(f"{where}: text with NUL or half a character, {text[:40]!a}")
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (event.tag is None and event.implicit[0], False))
    if tag == _MERGE:
        return text, True
    # The rest is text: what YAML takes for a date, too.
    if tag not in _PLAIN:
        return text, False
    if len(text) > LONGEST_NUMBER:
        raise YAMLError(f"{where}: the number {text[:20]}... of {len(text)} characters; text stands in quotes")
    try:
        value = _PLAIN[tag](yaml.ScalarNode(tag, text))
    # `0x_` has the form of a number, and no digit.
    except ValueError as error:
        raise YAMLError(f"{where}: {text}, which is no number; text stands in quotes") from error
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise YAMLError(f"{where}: {text}, a number beyond 64 bits; text stands in quotes")
    return value, False


def is_plain(text: str) -> bool:
    """Return whether a text has no NUL and no half surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _mappings(value: Any, where: str) -> list[dict[str, Any]]:
    """Return what a merge key takes in."""
    given = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in given):
        raise YAMLError(f"{where}: << with something that is no mapping")
    return given
