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
    """One line a recipe: what it does, its teacher, its losses."""
    from rich.console import Console
    from rich.table import Table

    from insightface_cakd.recipe import load_recipe, shipped_recipes

    table = Table("recipe", "teacher", "losses", "what it does", box=None, header_style="bold")
    for path in shipped_recipes():
        recipe = load_recipe(str(path))
        losses = ", ".join(f"{term.weight:g} x {term.loss}" for term in recipe.losses)
        table.add_row(path.stem, recipe.teacher.network, losses, recipe.about)
    Console().print(table)


def _show(recipe: Annotated[str, typer.Argument(help="Name or path.")]) -> None:
    """Print a recipe's file, to copy and change."""
    from insightface_cakd.recipe import find_recipe

    print(find_recipe(recipe).read_text(encoding="utf-8"), end="")


def _check(recipe: Annotated[str, typer.Argument(help="Name or path.")]) -> None:
    """Check a recipe without a run: keys, losses, values. Taps and shapes are checked when the networks are built."""
    from insightface_cakd.losses import LOSSES
    from insightface_cakd.recipe import load_recipe

    loaded = load_recipe(recipe)
    for term in loaded.losses:
        print(
            f"{term.name}: {term.weight:g} x {term.loss}, reads the {LOSSES[term.loss].reads}; {LOSSES[term.loss].paper}"
        )
    print(f"{recipe}: valid")
