"""`cakd recipes list | show | check`."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(help="The shipped recipes, and a check of your own.", no_args_is_help=True)
    group.command("list")(_list)
    group.command("show")(_show)
    group.command("check")(_check)
    app.add_typer(group, name="recipes")


def _list() -> None:
    """List the recipes: method, paper, needs, memory and cost.

    For an ablation, its change is printed instead.
    """
    from insightface_cakd.api.recipes import recipes
    from insightface_cakd.cli.recipe_table import list_recipes

    print(list_recipes(recipes()))


def _show(recipe: Annotated[str, typer.Argument(help="Name or path.")]) -> None:
    """Print a recipe's file, to copy and change."""
    from insightface_cakd.recipe import find_recipe

    print(find_recipe(recipe).read_text(encoding="utf-8"), end="")


def _check(recipe: Annotated[str, typer.Argument(help="Name or path.")]) -> None:
    """Check a recipe without a run: keys, losses, values.

    Taps and shapes are checked only when the networks are built.
    """
    from insightface_cakd.cli.recipe_table import described_needs
    from insightface_cakd.recipe import load_recipe

    loaded = load_recipe(recipe)
    if loaded.about:
        print(loaded.about)
    if loaded.head is not None:
        print(f"head: {loaded.head.summary}; {loaded.head.paper}")
    for term in loaded.losses:
        print(f"{term.name}: {term.weight:g} x {term.loss}, reads the {term.reading}; {term.facts.paper}")
    print(f"needs: {', '.join(described_needs(loaded))}")
    print(f"{recipe}: valid")
