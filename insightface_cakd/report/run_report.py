"""The report of an experiment: results, curves and facts in one file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from insightface_cakd.errors import EvaluationError
from insightface_cakd.report.curves import read_curves
from insightface_cakd.report.page import page
from insightface_cakd.report.panels import ENOUGH, draw_panels
from insightface_cakd.report.result import Result, Section
from insightface_cakd.report.tables import Row
from insightface_cakd.report.teaching import against_teacher
from insightface_cakd.runtime.atomic import write_text
from insightface_cakd.runtime.run_folder import RunFolder

TEMPLATE = "report.html"


@dataclass(frozen=True)
class Report:
    """The content of a report.

    Args:
        verdict: the sentence that answers what was asked.
        rows: of the result table; a cell that a row lacks stays empty.
        runs: title -> output folder; curves and facts are read from there.
        sections: further sections, such as on the method.
    """

    title: str
    verdict: str
    rows: Sequence[Row]
    runs: Mapping[str, Path] = field(default_factory=dict)
    notes: Sequence[str] = ()
    sections: Sequence[Section] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the report atomically, as one .html file without links."""
    for title, folder in report.runs.items():
        if not folder.is_dir():
            raise EvaluationError(f"report: {folder}, of '{title}', is no folder; expected the output of `cakd train`.")
    runs = _runs(report.runs)
    text = page(TEMPLATE, report.runs, title=report.title, verdict=report.verdict, report=report, **runs)
    write_text(path, text, EvaluationError, f"report {path}")


def write_result(path: Path, title: str, result: Result) -> None:
    """Write the page of one measurement."""
    write_report(path, Report(title, result.verdict, (), sections=page_sections(result)))


def page_sections(result: Result) -> list[Section]:
    """Return a measurement's sections, of which the first gets the pictures."""
    first, *rest = result.sections()
    return [replace(first, drawings=result.drawings(), galleries=result.galleries()), *rest]


def _runs(folders: Mapping[str, Path]) -> dict[str, Any]:
    """Return curves, facts and resolved recipes of runs, as the template takes them."""
    runs = {title: RunFolder(folder) for title, folder in folders.items()}
    facts = {title: run.facts() for title, run in runs.items()}
    logged = {title: read_curves(folder) for title, folder in folders.items()}
    course = draw_panels(logged)
    said = []
    if course.too_short:
        said.append(f"Logged, but of fewer than {ENOUGH} points and so not drawn: {', '.join(course.too_short)}.")
    silent = [title for title, tags in logged.items() if not tags]
    if silent:
        said.append(f"No TensorBoard events: {', '.join(silent)}.")
    return {
        "runs": facts,
        "course": course,
        "course_notes": said,
        "against": [line for title, run in runs.items() if (line := _against(title, run)) is not None],
        "keys": list(dict.fromkeys(key for run in facts.values() for key in run)),
        "recipes": {title: json.dumps(run.recipe, indent=2) for title, run in runs.items() if run.recipe is not None},
    }


def _against(title: str, run: RunFolder) -> str | None:
    line = None if run.teacher is None else against_teacher(run.teacher.sets, run.result.accuracy)
    return None if line is None else f"{title}: {line}"
