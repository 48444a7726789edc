"""Look-up of recipes: the shipped ones by name, a user's by path."""

from functools import cache
from pathlib import Path

from insightface_cakd.errors import RecipeError, did_you_mean
from insightface_cakd.runtime.shipped import shipped_folder


def find_recipe(name: str) -> Path:
    """Return the file of a recipe, by path or shipped name."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = _by_name()
    if name in shipped:
        return shipped[name]
    raise RecipeError(
        f"recipe {name}: no such file, and no shipped recipe of that name; shipped: {', '.join(shipped)}."
        f"{did_you_mean(name, shipped)} `cakd recipes list` tells what each one does."
    )


def shipped_recipes() -> list[Path]:
    """Return the shipped recipe files, sorted by name, those in subfolders last."""
    folder = shipped_folder("recipes")
    return sorted(folder.glob("*.yaml")) + sorted(folder.glob("*/*.yaml"))


def recipe_name(path: Path) -> str:
    """Return a shipped recipe's name (`cakd`, `ablations/cakd_no_fpe`); else the stem."""
    folder = shipped_folder("recipes")
    return path.relative_to(folder).with_suffix("").as_posix() if path.is_relative_to(folder) else path.stem


@cache
def _by_name() -> dict[str, Path]:
    return {recipe_name(file): file for file in shipped_recipes()}
