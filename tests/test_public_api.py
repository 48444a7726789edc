"""`docs/api.md` is true: every name on it can be imported, is documented, and is what the examples use."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from insightface_cakd import errors
from insightface_cakd.losses import LOSSES

ROOT = Path(__file__).resolve().parent.parent
NAMES = re.findall(r"^\| `(insightface_cakd\.[\w.]+)` \|", (ROOT / "docs/api.md").read_text("utf-8"), re.MULTILINE)
# The page says that every loss is public by its class.
PUBLIC = {*NAMES, *(f"insightface_cakd.losses.{loss.__name__}" for loss in LOSSES.values())}
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def imported(code):
    """Yield the names that a script takes from the package."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("insightface_cakd"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_page_has_names_and_none_twice():
    assert len(NAMES) > 40
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_can_be_imported_and_is_documented(name):
    module, _, last = name.rpartition(".")
    assert (getattr(importlib.import_module(module), last).__doc__ or "").strip()
    assert not any(part.startswith("_") for part in name.split("."))


def test_every_error_is_on_the_page():
    kinds = [name for name, value in vars(errors).items() if isinstance(value, type)]
    assert {name.rpartition(".")[2] for name in NAMES if ".errors." in name} == set(kinds) - {"Iterable"}


def test_examples_use_public_names_only():
    used = {name for file in (ROOT / "examples").glob("*.py") for name in imported(file.read_text("utf-8"))}
    assert used
    assert used <= PUBLIC


def test_pages_show_public_names_only():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    used = {name for page in pages for block in BLOCK.findall(page.read_text("utf-8")) for name in imported(block)}
    assert used
    assert used <= PUBLIC
