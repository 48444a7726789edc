"""Where the recipes and patches that come with the package lie."""

from pathlib import Path


def shipped_folder(name: str) -> Path:
    """Return a top-level folder of the project, from a wheel or from a checkout.

    A wheel carries it inside the package; an editable install leaves it beside the package.

    Args:
        name: "recipes" or "patches".
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
