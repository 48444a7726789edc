"""The code is our own: no passage of InsightFace's is in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PASSAGE, LETTERS = 3, 60

pytestmark = pytest.mark.upstream


def passages(file):
    """Return every three neighbouring lines of code, without blanks and comments, that say more than a name or two."""
    text = file.read_text(encoding="utf-8", errors="replace")
    lines = [re.sub(r"\s+|#.*", "", line) for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("import", "from"))]
    found = zip(*(lines[start:] for start in range(PASSAGE)), strict=False)
    return {passage for passage in found if sum(map(len, passage)) >= LETTERS}


def test_no_three_lines_in_a_row_are_upstreams(arcface_torch):
    folders = (arcface_torch, arcface_torch.parent / "_evaluation_")
    theirs = {passage for folder in folders for file in folder.rglob("*.py") for passage in passages(file)}
    assert len(theirs) > 2000
    # The default values of a config are facts.
    ours = [
        file
        for folder in ("insightface_cakd", "tests")
        for file in (ROOT / folder).rglob("*.py")
        if file.parent.name != "configs"
    ]
    assert [(file.name, passage) for file in ours for passage in passages(file) & theirs] == []
