"""Locates the recipes and patches that come with the package."""

from functools import cache
from pathlib import Path


@cache
def shipped_folder(name: str) -> Path:
    """Return the folder "recipes" or "patches" of the project.

    A wheel carries it inside the package; an editable install leaves it beside the package, in the checkout.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
