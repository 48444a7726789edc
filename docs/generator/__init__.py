"""What makes pages from the code, and the site from the pages."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def anchor(heading: str) -> str:
    """Return the anchor that GitHub and the site give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
