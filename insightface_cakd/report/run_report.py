"""The report of an experiment: results, curves and facts in one file."""

import base64
import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from insightface_cakd import __version__
from insightface_cakd.errors import EvaluationError
from insightface_cakd.report.curves import read_curves
from insightface_cakd.report.plots import draw_panels
from insightface_cakd.report.result import Drawing, Result, Section
from insightface_cakd.report.tables import Row, columns
from insightface_cakd.report.teaching import against_teacher
from insightface_cakd.runtime.atomic import write_text
from insightface_cakd.runtime.devices import describe_machine
from insightface_cakd.runtime.run_folder import RunFolder

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1rem 0; }
.wide { overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .35rem .9rem; text-align: right; vertical-align: top; }
th { background: #f6f6f6; } th:first-child, td:first-child { text-align: left; }
table.facts { font-size: .85rem; } table.facts th, table.facts td { text-align: left; overflow-wrap: anywhere; }
table.facts td:first-child { white-space: nowrap; color: #666; }
figure { margin: 1.5rem 0; } figure svg, figure img { width: 100%; height: auto; }
figcaption { font-size: .9rem; color: #555; } figcaption b { color: #222; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: .85rem; }
footer { margin-top: 3rem; font-size: .85rem; color: #666; }
"""


@dataclass(frozen=True)
class Report:
    """The content of a report.

    Args:
        rows: of the result table; a cell that a row lacks stays empty.
        runs: title -> output folder; curves and facts are read from there.
        sections: further sections, such as on the method.
    """

    title: str
    rows: Sequence[Row]
    runs: Mapping[str, Path] = field(default_factory=dict)
    notes: Sequence[str] = ()
    sections: Sequence[Section] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the report atomically, as one .html file without links."""
    for title, folder in report.runs.items():
        if not folder.is_dir():
            raise EvaluationError(f"report: {folder}, of '{title}', is no folder; expected the output of `cakd train`.")
    page = "\n".join(_page(report))
    write_text(path, page, EvaluationError, f"report {path}")


def write_result(path: Path, title: str, result: Result) -> None:
    """Write the page of one measurement."""
    write_report(path, Report(title, (), sections=page_sections(result)))


def page_sections(result: Result) -> list[Section]:
    """Return a measurement's sections, of which the first gets the pictures."""
    first, *rest = result.sections()
    return [replace(first, drawings=result.drawings()), *rest]


def _page(report: Report) -> Iterator[str]:
    title = html.escape(report.title)
    yield f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>'
    yield f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>"
    yield from _results(report.rows)
    yield from (f"<p>{html.escape(note)}</p>" for note in report.notes)
    for section in report.sections:
        yield from _section(section)
    if report.runs:
        yield from _curves(report.runs)
        yield from _facts(report.runs)
    yield f"<footer>Written by insightface_cakd {__version__} on {html.escape(describe_machine())}.</footer>"
    yield "</body>\n</html>\n"


def _section(section: Section) -> Iterator[str]:
    yield f"<h2>{html.escape(section.title)}</h2>"
    yield from _results(section.rows)
    yield from (f"<p>{html.escape(note)}</p>" for note in section.notes)
    yield from (_figure(drawing) for drawing in section.drawings)
    if section.picture is not None:
        content = base64.b64encode(section.picture).decode("ascii")
        image = f'<img alt="{html.escape(section.title)}" src="data:image/png;base64,{content}">'
        yield f"<figure>\n{image}\n<figcaption>{html.escape(' '.join(section.caption))}</figcaption></figure>"


def _results(rows: Sequence[Row]) -> Iterator[str]:
    if rows:
        keys = columns(rows)
        yield _table(keys, ([row.get(key, "") for key in keys] for row in rows))


def _curves(runs: Mapping[str, Path]) -> Iterator[str]:
    """Yield the figures, and a line about runs that logged nothing."""
    curves = {title: read_curves(folder) for title, folder in runs.items()}
    yield "<h2>Curves</h2>"
    for panel, svg in draw_panels(curves):
        yield _figure(Drawing(f"{panel.title}.", panel.caption, svg))
    silent = [title for title, tags in curves.items() if not tags]
    if silent:
        yield f"<p>No TensorBoard events: {html.escape(', '.join(silent))}.</p>"


def _figure(drawing: Drawing) -> str:
    caption = f"<figcaption><b>{html.escape(drawing.title)}</b> {html.escape(drawing.caption)}</figcaption>"
    return f"<figure>\n{caption}\n{drawing.svg}</figure>"


def _facts(runs: Mapping[str, Path]) -> Iterator[str]:
    """Yield the runs side by side, and their resolved recipes."""
    folders = {title: RunFolder(folder) for title, folder in runs.items()}
    facts = {title: folder.facts() for title, folder in folders.items()}
    yield "<h2>Runs</h2>"
    for title, folder in folders.items():
        line = None if folder.teacher is None else against_teacher(folder.teacher.sets, folder.result.accuracy)
        if line is not None:
            yield f"<p>{html.escape(f'{title}: {line}')}</p>"
    keys = dict.fromkeys(key for run in facts.values() for key in run)
    yield _table(["", *facts], ([key, *(run.get(key, "") for run in facts.values())] for key in keys), "facts")
    for title, folder in folders.items():
        if folder.recipe is not None:
            recipe = json.dumps(folder.recipe, indent=2)
            summary = f"<summary>Recipe of {html.escape(title)}</summary>"
            yield f"<details>{summary}<pre>{html.escape(recipe)}</pre></details>"


def _table(head: Sequence[str], body: Iterable[Sequence[str]], kind: str = "results") -> str:
    """Return an HTML table of escaped text."""
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in body]
    rows = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table class="{kind}">\n{rows}\n</table></div>'
