"""The glossary is in order, and CONTRIBUTING names the folders in the order in which they may import."""

import re
from pathlib import Path

from tests.test_import_graph import ROOMS

ROOT = Path(__file__).resolve().parent.parent
GLOSSARY = (ROOT / "docs/glossary.md").read_text(encoding="utf-8").split("## Symbols")[0]
TERMS = re.findall(r"^\| (?!term \|)([^`|]+) \| ([^|]+) \|$", GLOSSARY, re.MULTILINE)


def test_terms_are_in_alphabetical_order_and_none_comes_twice():
    terms = [term.lower() for term, _ in TERMS]
    assert len(terms) > 50
    assert terms == sorted(set(terms))


def test_each_is_said_in_one_sentence():
    assert [term for term, text in TERMS if not text.endswith(".") or re.search(r"\. [A-Z]", text)] == []


def test_contributing_names_the_folders_in_their_order():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = re.search(r"only from folders before its own: ([^.]+)\.", page)[1]
    assert re.findall(r"`(\w+)`", names) == [room for room in ROOMS if room not in ("seam", "__main__")]
