"""What comes from the code, and from the runs of the evidence."""

from docs.generator.keys import keys_page
from docs.generator.methods import method_pages
from docs.generator.result_picture import result_picture


def written_pages() -> dict[str, str]:
    """Return every page and picture that is written, by its path in the repository."""
    return {"docs/keys.md": keys_page(), "docs/pictures/result.svg": result_picture(), **method_pages()}
