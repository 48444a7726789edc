"""`cakd compare`."""

from pathlib import Path
from typing import Annotated

import typer

from insightface_cakd.cli.options import Centres, Data, Output, RecipeSettings, Settings, Teacher
from insightface_cakd.errors import RunError


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("compare")(_compare)


def _compare(
    recipes: Annotated[list[str], typer.Argument(help="Recipes, by name (`cakd recipes list`) or path.")],
    output: Output = Path("compare"),
    seeds: Annotated[str, typer.Option(help="With commas between; each trains all.")] = "2048,2049,2050",
    student_config: Annotated[str, typer.Option(help="Of every student.")] = "faces_cnn_tiny",
    teacher_config: Annotated[
        str, typer.Option(help="By which a teacher is trained for each seed, where --teacher names none.")
    ] = "faces_vit_tiny",
    teacher: Teacher = None,
    data: Data = None,
    centres: Centres = None,
    settings: Settings = None,
    recipe_settings: RecipeSettings = None,
    cache: Annotated[
        bool, typer.Option(help="Ask the teacher once for all images, for recipes that read its embedding only.")
    ] = False,
) -> None:
    """Train recipes on equal terms, and print a table.

    The table is sorted by gain over the student trained alone. Finished runs are not repeated. Without --data, faces are
    drawn for each seed; with it, a table for each verification set follows, with TAR@FAR, intervals and tests. --set
    applies to the students only, --recipe-set to all recipes.

    Example: `cakd compare cosine fitnet urfm cakd --seeds 2048,2049,2050`
    """
    from insightface_cakd.experiments.runs import Comparison, compare

    numbers = _numbers(seeds)
    terms = Comparison(
        tuple(recipes),
        numbers,
        student_config,
        teacher or teacher_config,
        data,
        tuple(centres or ()),
        tuple(settings or ()),
        tuple(recipe_settings or ()),
        cache,
    )
    outcome = compare(output, terms)
    print(f"\n{outcome.text()}\n\n{output / 'compare.md'}")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise RunError(f"--seeds {text}: expected whole numbers with commas between, for example 2048,2049.") from error
    if len(set(numbers)) < len(numbers):
        raise RunError(f"--seeds {text}: a seed stands twice; expected different ones. Leave it out once.")
    return numbers
