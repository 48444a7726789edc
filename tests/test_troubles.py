"""Every line that docs/troubles.md quotes is one that the code can say."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/troubles.md").read_text("utf-8")
QUOTED = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
GAP = "…"


def said(node):
    """Return the text of an expression, with a gap for each value, or None if it is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(said(part) or GAP for part in node.values)
    return None


def texts():
    """Yield every text of the package's code."""
    for path in sorted((ROOT / "insightface_cakd").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if text := said(node):
                # The page writes no code within its quotations.
                yield text.replace("`", "")


TEXTS = list(dict.fromkeys(texts()))


def can_be_said(line):
    fixed = [re.escape(part.strip()) for part in line.split(GAP) if part.strip()]
    pattern = re.compile(".*".join(fixed), re.DOTALL)
    return any(pattern.search(text) for text in TEXTS)


def test_this_file_finds_what_is_said_and_nothing_else():
    assert can_be_said("…: one person; training needs at least 2.")
    assert not can_be_said("…: two persons; training needs at least 3.")
    assert not can_be_said("training needs at least 2 … one person")


@pytest.mark.parametrize("line", QUOTED)
def test_a_quoted_line_is_in_the_code(line):
    assert sum(len(part) for part in line.split(GAP)) > 15, "too little is quoted to find it"
    assert can_be_said(line)


def test_every_quoted_line_has_a_cause_and_a_cure():
    lines = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(lines) == len(QUOTED) > 50
    assert all(len([cell for cell in re.split(r"(?<!\\)\|", line)[1:-1] if cell.strip()]) == 3 for line in lines)
    assert len(set(QUOTED)) == len(QUOTED)
