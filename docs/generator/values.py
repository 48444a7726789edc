"""What a key may hold, in words, from the JSON schema of its model."""

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
SIMPLE = {"string": "text", "boolean": "`true` or `false`"}
UNLIMITED = 10**12
NUMBERS = {"integer": "whole number", "number": "number"}


def in_words(schema: Schema, parts: Mapping[str, str]) -> str:
    """Return the values that a schema allows.

    Args:
        schema: of a field.
        parts: what is said of each model that it may refer to, by name.
    """
    if "description" in schema:
        return str(schema["description"])
    if "$ref" in schema:
        return parts[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        # None is what a key has that is not given.
        kinds = [in_words(one, parts) for one in schema["anyOf"] if one.get("type") != "null"]
        return ", or ".join(dict.fromkeys(kinds))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind in NUMBERS:
        return NUMBERS[kind] + _range(schema)
    if kind == "array":
        return _list(schema, parts)
    if kind == "object":
        below = schema.get("additionalProperties")
        return f"NAME: {in_words(below, parts)}" if isinstance(below, Mapping) else "keys and values"
    return SIMPLE.get(str(kind), "any")


def _range(schema: Schema) -> str:
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    # What only the number's own type limits is not said.
    most = None if most is not None and most >= UNLIMITED else most
    if least is not None and most is not None:
        return f", {least:g} to {most:g}"
    said = [
        f"{words} {bound:.6g}"
        for words, bound in (("at least", least), ("above", above), ("at most", most), ("below", below))
        if bound is not None
    ]
    return ", " + ", ".join(said) if said else ""


def _list(schema: Schema, parts: Mapping[str, str]) -> str:
    least, most = schema.get("minItems"), schema.get("maxItems")
    count = f"{least}: " if least is not None and least == most else ""
    items = schema.get("prefixItems", [schema.get("items", {})])
    return f"list of {count}{in_words(items[0], parts)}"


def default_of(schema: Schema, required: bool) -> str:
    """Return a field's default as a recipe writes it; empty if it is nothing."""
    if required:
        return "must be given"
    value = schema.get("default")
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return "`[" + ", ".join(map(str, value)) + "]`"
    if isinstance(value, dict):
        return f"`{value['kind']}`" if "kind" in value else ""
    return f"`{value:.4g}`" if isinstance(value, float) else f"`{value}`"


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines)
