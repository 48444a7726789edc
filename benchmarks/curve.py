"""A picture of how accuracy grows with steps or images: runs of several lengths."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.seeds import number_in
from insightface_cakd.errors import EvaluationError
from insightface_cakd.report.plots import plain, svg_of
from insightface_cakd.report.tables import Row, markdown_table

RESULT = "result.json"

# Line -> x -> a value of each seed.
Points = Mapping[str, Mapping[float, Sequence[float]]]


def read_points(folder: Path, fact: str) -> Points:
    """Return the numbers of runs, by line and place on the x axis.

    Args:
        folder: has LINE/X/SEED/result.json, X a number such as the steps or the images of a run.
        fact: key of the file, with slashes.

    Raises:
        EvaluationError: no such file, an X that is not a number, or a file without the fact.
    """
    points: dict[str, dict[float, list[float]]] = {}
    for path in sorted(folder.glob(f"*/*/*/{RESULT}")):
        line, x = path.parts[-4], path.parts[-3]
        try:
            place = float(x)
        except ValueError as error:
            raise EvaluationError(
                f"{path}: {x} is not a number; expected LINE/X/SEED/{RESULT}. Rename the folder."
            ) from error
        points.setdefault(line, {}).setdefault(place, []).append(number_in(path, fact))
    if not points:
        raise EvaluationError(
            f"{folder}: has no LINE/X/SEED/{RESULT}; expected the results of runs. Name their folder."
        )
    return points


def curve_table(points: Points, x: str) -> str:
    """Return a row for each place, a column for each line; means in percent.

    Args:
        points: of one fact.
        x: title of the places.
    """
    places = sorted({place for line in points.values() for place in line})
    rows: list[Row] = []
    for place in places:
        cells = {
            name: f"{100 * mean(line[place]):.2f} ({len(line[place])})"
            for name, line in points.items()
            if place in line
        }
        rows.append({x: f"{place:g}"} | {name: cells.get(name, "") for name in points})
    return markdown_table(rows)


def draw_curves(facts: Mapping[str, Points], x: str, level: float | None = None) -> str:
    """Return a `<svg>` with a panel for each fact.

    Each run is a dot, and the means of the seeds are joined.

    Args:
        facts: title of the panel -> points.
        x: title of the x axis, which is logarithmic.
        level: a share to compare with, such as the teacher's accuracy, drawn as a line.
    """
    figure = Figure(figsize=(4.4 * len(facts) + 1.6, 3.4), layout="constrained")
    row: Sequence[Axes] = figure.subplots(1, len(facts), squeeze=False, sharey=True)[0]
    names = list(dict.fromkeys(name for points in facts.values() for name in points))
    for axes, (title, points) in zip(row, facts.items(), strict=True):
        for name, line in points.items():
            colour, places = f"C{names.index(name)}", sorted(line)
            axes.plot(places, [100 * mean(line[place]) for place in places], color=colour, label=name, linewidth=1.3)
            dots = [(place, 100 * value) for place in places for value in line[place]]
            axes.plot(*zip(*dots, strict=True), "o", color=colour, markersize=3)
        if level is not None:
            axes.axhline(100 * level, color="0.5", linewidth=0.8, linestyle=":", label="teacher")
        axes.set_xscale("log")
        axes.set(xlabel=x, title=title)
    row[0].set_ylabel("accuracy in %")
    plain(*row)
    # Beside the curves, so that it hides none of them.
    row[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return svg_of(figure, "curve")
