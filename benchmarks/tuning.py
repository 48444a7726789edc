"""Weights of recipes, tuned with the same number of short runs for each."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import yaml

from insightface_cakd.errors import RunError
from insightface_cakd.experiments.runs import Comparison, compare
from insightface_cakd.experiments.table import Row
from insightface_cakd.recipe import load_recipe
from insightface_cakd.recipe.shipped import find_recipe
from insightface_cakd.report.tables import Row as Line
from insightface_cakd.report.tables import markdown_table
from insightface_cakd.runtime.atomic import write_text

TRIALS, TRIED, TUNED = "trials", "tried", "recipes"


def tune(folder: Path, terms: Comparison, factors: Sequence[float]) -> str:
    """Train every recipe with its weights multiplied, keep the best, and return a table.

    All weights of a recipe are multiplied by the same factor. A recipe without a term, and so without a weight, has one trial.
    The best of each is written to `folder/recipes`, for `cakd compare`; the runs are in `folder/trials`.

    Args:
        folder: where runs and recipes go; a second call goes on.
        terms: the recipes, and all that they share; the accuracy is the mean over seeds and verification sets.
        factors: of the weights.

    Raises:
        RunError: no factor, one twice, or one that is not above 0.
    """
    if not factors or len(set(factors)) < len(factors) or min(factors) <= 0:
        raise RunError(f"tune: factors {list(factors)}; expected different numbers above 0. Pass --factors 0.25,1,4.")
    for name in (TRIED, TUNED):
        (folder / name).mkdir(parents=True, exist_ok=True)
    trials = {recipe: _write_trials(folder / TRIED, recipe, factors) for recipe in terms.recipes}
    files = [str(path) for paths in trials.values() for path in paths.values()]
    rows = {row.name: row for row in compare(folder / TRIALS, replace(terms, recipes=tuple(files))).rows}
    lines: list[Line] = []
    for recipe, paths in trials.items():
        reached = {factor: _accuracy(rows[path.stem]) for factor, path in paths.items()}
        best = max(reached, key=reached.__getitem__)
        tuned = folder / TUNED / f"{find_recipe(recipe).stem}.yaml"
        write_text(tuned, paths[best].read_text(), RunError)
        lines.append(
            {"recipe": tuned.stem}
            | {f"x {factor:g}": _cell(share, factor == best) for factor, share in reached.items()}
        )
    return markdown_table(lines)


def _write_trials(folder: Path, recipe: str, factors: Sequence[float]) -> dict[float, Path]:
    """Write a recipe once for each factor, and return the files."""
    terms = load_recipe(recipe).terms  # Faults are found before hours of training.
    source = find_recipe(recipe)
    files: dict[float, Path] = {}
    for factor in factors if terms else (1.0,):
        content = yaml.safe_load(source.read_text())
        for term in content.get("losses", []):
            term["weight"] = term["weight"] * factor
        files[factor] = folder / f"{source.stem}_x{factor:g}.yaml"
        write_text(files[factor], yaml.safe_dump(content, sort_keys=False, width=1000), RunError)
    return files


def _accuracy(row: Row) -> float:
    return 100 * mean(run.accuracy for run in row.runs)


def _cell(accuracy: float, best: bool) -> str:
    return f"**{accuracy:.2f}**" if best else f"{accuracy:.2f}"
