"""The pages that come from the code."""

from docs.generator.keys import keys_page
from docs.generator.methods import method_pages


def written_pages() -> dict[str, str]:
    """Return every page that comes from the code, by its path in the repository."""
    return {"docs/keys.md": keys_page(), **method_pages()}
