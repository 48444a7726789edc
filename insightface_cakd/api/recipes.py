"""The shipped recipes, read."""

from insightface_cakd.recipe import Recipe, load_recipe, recipe_name, shipped_recipes


def recipes() -> dict[str, Recipe]:
    """Return the shipped recipes by name, each read and checked.

    `about` says in a sentence what one does, `losses` are its terms. A name is what `train` takes.
    """
    return {recipe_name(path): load_recipe(str(path)) for path in shipped_recipes()}
