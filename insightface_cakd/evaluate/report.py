"""The page that a run leaves behind: a result table and its curves, in one HTML file."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from insightface_cakd.atomic import replacing

Curve = list[tuple[int, float]]
Row = dict[str, str]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: .35rem .9rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { display: inline-block; margin: .5rem 0; } img { max-width: 100%; }
"""

# title of a plot, unit of its y axis, tags that belong in it (a tag or its beginning)
PLOTS: tuple[tuple[str, str, str], ...] = (
    ("Verification accuracy", "accuracy", "accuracy/"),
    ("Loss of the head, terms included", "loss", "train/loss"),
    ("Raw terms", "raw value", "distill/raw/"),
    ("Weighted terms", "weighted value", "distill/weighted/"),
    ("Gradient at the embedding, distillation : margin", "ratio of norms", "distill/gradient_ratio"),
    ("Learning rate", "rate", "train/learning_rate"),
    ("Throughput", "images/s", "train/images_per_second"),
)


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Args:
        title: of the page.
        rows: of the result table, all with the same keys.
        runs: title -> output folder; their TensorBoard events become curves.
        notes: lines below the table.
    """

    title: str
    rows: Sequence[Row]
    runs: dict[str, Path] = field(default_factory=dict)
    notes: Sequence[str] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the page; pictures are inside it.

    Args:
        path: the .html to write.
        report: what it shows.
    """
    curves = {title: read_curves(folder / "tensorboard") for title, folder in report.runs.items()}
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in report.notes)
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(report.title)}</title><style>{STYLE}</style>"
        f"<h1>{html.escape(report.title)}</h1>{_table(report.rows)}{notes}{''.join(_figures(curves))}</html>"
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def result_table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table that is aligned in plain text too."""
    keys = list(rows[0])
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in keys}

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(widths[key]) if key == keys[0] else cell.rjust(widths[key])
            for key, cell in zip(keys, cells, strict=True)
        )
        return f"| {' | '.join([first, *rest])} |"

    rule = "|" + "|".join("-" * (widths[key] + 1) + ("-" if key == keys[0] else ":") for key in keys) + "|"
    return "\n".join([line(keys), rule, *(line([row[key] for key in keys]) for row in rows)])


def read_curves(folder: Path) -> dict[str, Curve]:
    """Return tag -> (step, value) of the events in a folder and its sub-folders; nothing where there are none."""
    curves: dict[str, Curve] = {}
    for place in sorted({file.parent for file in folder.rglob("events.out.tfevents.*")}):
        events = EventAccumulator(str(place), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            curves[tag] = [(event.step, event.value) for event in events.Scalars(tag)]
    return curves


def _figures(curves: dict[str, dict[str, Curve]]) -> list[str]:
    """Return one figure for each plot that has something to show."""
    figures = []
    for title, unit, beginning in PLOTS:
        lines = {
            f"{run}: {tag.removeprefix(beginning)}".rstrip(": "): curve
            for run, tags in curves.items()
            for tag, curve in tags.items()
            if tag.startswith(beginning) and curve
        }
        if lines:
            picture = base64.b64encode(_plot(title, unit, lines)).decode()
            figures.append(f"<figure><img alt='{html.escape(title)}' src='data:image/png;base64,{picture}'></figure>")
    return figures


def _plot(title: str, unit: str, lines: dict[str, Curve]) -> bytes:
    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    for name, curve in lines.items():
        axes.plot(
            *zip(*curve, strict=True), label=name, linewidth=1.2, marker="o" if len(curve) < 30 else None, markersize=3
        )
    axes.set(title=title, xlabel="step", ylabel=unit)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(key)}</th>" for key in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row.values()) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
