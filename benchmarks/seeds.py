"""A table of runs: the mean of each number over the seeds."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from insightface_cakd.errors import EvaluationError
from insightface_cakd.report.tables import Row, markdown_table


def seeds_table(folder: Path, file: str, facts: Sequence[str], scale: float = 1.0) -> str:
    """Return a line for each name, a column for each fact.

    A cell is the mean over the seeds, with their standard deviation in brackets, in the order in which the folders lie on disk by name.

    Args:
        folder: has NAME/SEED/FILE, written by `cakd train` (`result.json`) or by an evaluation's `--json`.
        file: name of the file.
        facts: keys of the file, with slashes between levels, such as `accuracy/lfw_dev`, and numbers in lists, such as `0/eer`.
        scale: every number is multiplied by it; 100 for percent.

    Raises:
        EvaluationError: no such file, or one without a number of that key.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*/*/{file}")):
        found.setdefault(path.parent.parent.name, []).append(path)
    if not found:
        raise EvaluationError(f"{folder}: has no NAME/SEED/{file}; expected the results of runs. Name their folder.")
    rows: list[Row] = []
    for name, paths in found.items():
        seeds = [[scale * number_in(path, fact) for fact in facts] for path in paths]
        cells = dict(zip(facts, map(_cell, zip(*seeds, strict=True)), strict=True))
        rows.append({"run": name, "seeds": str(len(paths))} | cells)
    return markdown_table(rows)


def number_in(path: Path, fact: str) -> float:
    """Return a number of a JSON file.

    Args:
        path: the file.
        fact: its key, with slashes between levels.

    Raises:
        EvaluationError: there is no number of that key.
    """
    value: Any = json.loads(path.read_text())
    for key in fact.split("/"):
        if isinstance(value, list) and key.isdigit():
            value = dict(enumerate(value)).get(int(key))
        else:
            value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EvaluationError(f"{path}: {fact} is {value!r}; expected a number. Name a key of that file.")
    return float(value)


def _cell(values: Sequence[float]) -> str:
    return mean_cell(values, 2 if max(map(abs, values)) >= 1.5 else 4)


def mean_cell(values: Sequence[float], digits: int) -> str:
    """Return the mean, and in brackets the standard deviation of several."""
    return f"{mean(values):.{digits}f}" + (f" ({stdev(values):.{digits}f})" if len(values) > 1 else "")
