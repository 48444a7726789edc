"""`docs/glossary.md`: terms in alphabetical order, one sentence each."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "glossary.md"
TERMS = re.findall(
    r"^\| (?!term \|)([^`|]+) \| ([^|]+) \|$", PAGE.read_text(encoding="utf-8").split("## Symbols")[0], re.MULTILINE
)


def test_terms_are_in_alphabetical_order_and_none_comes_twice():
    terms = [term.lower() for term, _ in TERMS]
    assert len(terms) > 50
    assert terms == sorted(set(terms))


def test_each_is_said_in_one_sentence():
    assert [term for term, text in TERMS if not text.endswith(".") or re.search(r"\. [A-Z]", text)] == []
