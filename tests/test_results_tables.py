"""The short tables of recipes/README.md say what the lab book says."""

import re
from pathlib import Path

from docs.generator import anchor as heading_anchor

ROOT = Path(__file__).resolve().parent.parent
SHORT = (ROOT / "recipes/README.md").read_text("utf-8")
BOOK = ROOT / "docs/lab_book"


def rows(text):
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]


def test_there_are_three_tables_and_one_caution():
    assert len(re.findall(r"^\|(?: ?-+ ?\|)+$", SHORT, re.MULTILINE)) == 3
    assert SHORT.count("**Caution.**") == 1


def test_every_number_is_in_the_section_of_the_lab_book_that_its_table_names():
    sections = SHORT.split("\n## ")[1:]
    compared = 0
    for section in sections:
        page, anchor = re.search(r"lab_book/(\w+\.md)#?([\w-]*)\)", section).groups()
        whole = (BOOK / page).read_text("utf-8")
        parts = {heading_anchor(part.partition("\n")[0]): part for part in whole.split("\n## ")[1:]}
        said = rows(parts[anchor] if anchor else whole)
        for name, *cells in rows(section)[1:]:
            assert any(
                row[0] == name and set(filter(None, cells)) <= {cell.removesuffix(" %") for cell in row} for row in said
            ), (name, cells)
            compared += 1
    assert compared > 30


def test_the_lab_book_names_each_of_its_pages():
    index = (BOOK / "README.md").read_text("utf-8")
    assert {path.name for path in BOOK.glob("*.md")} - {"README.md"} == set(re.findall(r"\]\((\w+\.md)\)", index))
