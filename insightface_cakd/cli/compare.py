"""`cakd compare`."""

from pathlib import Path
from typing import Annotated

import typer

from insightface_cakd.errors import RunError


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("compare")(_compare)


def _compare(
    recipes: Annotated[list[str], typer.Argument(help="Recipes, by name (`cakd recipes list`) or path.")],
    output: Annotated[Path, typer.Option(help="Folder of all runs; those that are finished are not run again.")] = Path(
        "compare"
    ),
    seeds: Annotated[str, typer.Option(help="With commas between; each trains all.")] = "2048,2049,2050",
    student: Annotated[str, typer.Option(help="Config of every student.")] = "faces_cnn_tiny",
    teacher: Annotated[
        str, typer.Option(help="Config by which a teacher is trained, or the file of one.")
    ] = "faces_vit_tiny",
    data: Annotated[
        Path | None, typer.Option(help="Folder with train.rec and verification sets, instead of drawn faces.")
    ] = None,
    centres: Annotated[
        list[str] | None, typer.Option(help="Files with the class centres of a teacher given as a file, in rank order.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value for every student's config.")] = None,
    cache: Annotated[
        bool, typer.Option(help="Ask the teacher once for all images, for recipes that read its embedding only.")
    ] = False,
) -> None:
    """Train recipes on equal terms and print a table sorted by gain over the student alone.

    Example: `cakd compare cosine fitnet urfm cakd --seeds 2048,2049,2050`
    """
    from insightface_cakd.experiments.runs import Comparison, compare
    from insightface_cakd.experiments.table import table

    numbers = _numbers(seeds)
    terms = Comparison(
        tuple(recipes), numbers, student, teacher, data, tuple(centres or ()), tuple(settings or ()), cache
    )
    rows = compare(output, terms)
    print(f"\n{table(rows, numbers)}\n\n{output / 'compare.md'}")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise RunError(f"--seeds {text}: expected whole numbers with commas between, for example 2048,2049.") from error
    if len(set(numbers)) < len(numbers):
        raise RunError(f"--seeds {text}: a seed stands twice; expected different ones. Leave it out once.")
    return numbers
