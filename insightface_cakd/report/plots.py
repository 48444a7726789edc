"""Plots for pages: how one looks, and how it becomes an `<svg>`."""

import io
import re
from html import escape

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insightface_cakd.report.colours import INK, LOOK, Colours
from insightface_cakd.report.result import Drawing

# Inches. So narrow that the text is still large enough on a telephone.
WIDTH, HEIGHT, LINE = 4.6, 2.7, 0.2
# Points of a ROC or DET: with fewer, its steps are those of single faces.
ENOUGH = 20
# Letters of the longest label that leaves room for a second column of the legend.
SHORT = 24


def one_plot() -> tuple[Figure, Axes]:
    """Return a figure for a page, with one plot."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    return figure, figure.subplots()


def plain(*row: Axes) -> None:
    """Set grids and spines of plots."""
    for axes in row:
        axes.grid(True)
        axes.spines[["top", "right"]].set_visible(False)


def dress(figure: Figure, axes: Axes) -> Figure:
    """Return a figure of one plot with grid and legend.

    The legend is below the plot, for which the figure grows.
    """
    plain(axes)
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if len(labels) > 1 and max(map(len, labels)) <= SHORT else 1
    figure.set_figheight(HEIGHT + LINE * -(-len(labels) // columns))
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=columns,
        fontsize=10,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
    )
    return figure


def drawn(drawing: Drawing, colours: Colours, prefix: str) -> str:
    """Return a drawing as an `<svg>` in the colours of a page.

    Text and axes take the colour of the text around it.

    Args:
        drawing: to be drawn.
        colours: of the page.
        prefix: of all ids in it; no other element of the page may have ids of the same prefix.
    """
    with rc_context(LOOK):
        svg = svg_of(drawing.draw(colours), prefix).replace(INK, "currentColor")
    # The style sheet sets the size.
    opening, rest = svg.split(">", 1)
    opening = re.sub(r' (?:width|height)="[^"]*"', "", opening)
    return f'{opening} role="img" aria-label="{escape(f"{drawing.title}: {drawing.alt}")}">{rest}'


def svg_of(figure: Figure, prefix: str) -> str:
    """Return a figure as an `<svg>` element, reproducible byte for byte.

    No other element of the page may have ids of the same prefix.
    """
    content = io.StringIO()
    empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(content, format="svg", metadata=empty)
    text = content.getvalue()
    element = text[text.index("<svg") :]
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}-", element)
