"""The pages that come from the code."""

from pathlib import Path

from docs.generator.keys import keys_page

ROOT = Path(__file__).resolve().parents[2]


def written_pages() -> dict[str, str]:
    """Return every page that comes from the code, by its path in the repository."""
    return {"docs/keys.md": keys_page()}
