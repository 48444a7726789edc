"""A distillation run as a short, strict YAML file."""

from insightface_cakd.recipe.reading import load_recipe, parse_recipe, with_stages
from insightface_cakd.recipe.shipped import find_recipe, recipe_name, shipped_recipes
from insightface_cakd.recipe.spec import Recipe, TermSpec

__all__ = [
    "Recipe",
    "TermSpec",
    "find_recipe",
    "load_recipe",
    "parse_recipe",
    "recipe_name",
    "shipped_recipes",
    "with_stages",
]
