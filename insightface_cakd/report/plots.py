"""Draws curves of one or several runs as SVG."""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insightface_cakd.report.curves import Curve

LINE_STYLES = ("-", "--", ":", "-.")
FEW_POINTS = 30


@dataclass(frozen=True)
class Panel:
    """One plot of tags; one that ends in `/` is a prefix.

    The y axis is logarithmic, where asked for, if all values are positive and span more than a decade. `level` is a
    horizontal line to compare with.
    """

    title: str
    unit: str
    tags: tuple[str, ...]
    caption: str
    logarithmic: bool = False
    level: float | None = None


@dataclass(frozen=True)
class Line:
    """One curve of a plot, with its run's title."""

    run: str
    what: str
    curve: Curve


PANELS = (
    Panel("Verification accuracy", "accuracy", ("accuracy/",), "Ten-fold accuracy with flip, while training."),
    Panel("Training loss", "loss", ("train/loss",), "What is minimised: margin loss, and the weighted terms if any."),
    Panel(
        "Raw terms",
        "value",
        ("distill/raw/",),
        "Each term before its weight, in its own unit, and the margin loss.",
        logarithmic=True,
    ),
    Panel(
        "Attention loss",
        "squared difference",
        ("distill/raw/urfm_attention",),
        "How far the self-attention over the student's local fields is from that over the teacher's.",
        logarithmic=True,
    ),
    Panel(
        "Feature loss",
        "squared difference",
        ("distill/raw/urfm_feature",),
        "How far the student's local fields are from the teacher's, which have variance 1.",
        logarithmic=True,
    ),
    Panel(
        "Anchors",
        "1 - cosine",
        ("distill/raw/urfm_anchor", "distill/raw/prompt_anchor"),
        "How far what the teacher's fields tell is from its embedding, and its embedding with prompts from that without.",
        logarithmic=True,
    ),
    Panel(
        "Weighted terms",
        "value",
        ("distill/weighted/", "distill/raw/margin"),
        "Each term as it enters the sum, beside the margin loss.",
        logarithmic=True,
    ),
    Panel(
        "Gradient at the embedding, distillation : margin",
        "ratio of norms",
        ("distill/gradient_ratio",),
        "At 1 both pull equally. Far below, the teacher is not heard; far above, the labels are not.",
        logarithmic=True,
        level=1.0,
    ),
    Panel(
        "Similarity of student and teacher",
        "c = (1 + cosine) / 2",
        ("distill/raw/similarity/",),
        "Mean over the faces of a batch: fresh ones of the generator, those near them that come next, or real ones.",
    ),
    Panel(
        "Speed of generator, teacher and student",
        "images/s",
        ("distill/raw/images_per_second/",),
        "Of one rank, each part alone; the student's is the rest of the step, forward and backward.",
        logarithmic=True,
    ),
    Panel("Learning rate", "learning rate", ("train/learning_rate",), "Of the optimiser, step by step."),
    Panel("Throughput", "images/s", ("train/images_per_second",), "All ranks together, data loading included."),
)


def draw_panels(runs: Mapping[str, Mapping[str, Curve]]) -> Iterator[tuple[Panel, str]]:
    """Yield each plot of run -> tag -> curve, as `<svg>`."""
    colours = {run: f"C{index}" for index, run in enumerate(runs)}
    for index, panel in enumerate(PANELS):
        lines = [
            Line(run, what, curve)
            for run, curves in runs.items()
            for tag, curve in curves.items()
            if curve and (what := _name(panel, tag)) is not None
        ]
        if lines:
            yield panel, _draw(panel, lines, colours, f"p{index}")


def _name(panel: Panel, tag: str) -> str | None:
    """Return a tag's name in a panel, None if not shown."""
    for beginning in panel.tags:
        if tag == beginning:
            return tag.rpartition("/")[2]
        rest = tag.removeprefix(beginning)
        # What lies deeper, such as the parts of a task, has a panel of its own.
        if beginning.endswith("/") and rest != tag and "/" not in rest:
            return rest
    return None


def _draw(panel: Panel, lines: list[Line], colours: Mapping[str, str], prefix: str) -> str:
    """Return a panel's `<svg>`: runs differ in colour, tags in line style.

    Where there is one run, tags differ in colour.
    """
    names = list(dict.fromkeys(line.what for line in lines))
    several_runs = len({line.run for line in lines}) > 1
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    for line in lines:
        tag = names.index(line.what)
        axes.plot(
            *zip(*line.curve, strict=True),
            label=line.run if len(names) == 1 else f"{line.run}: {line.what}",
            color=colours[line.run] if several_runs or len(names) == 1 else f"C{tag}",
            linestyle=LINE_STYLES[tag % len(LINE_STYLES)] if several_runs else "-",
            linewidth=1.3,
            marker="o" if len(line.curve) < FEW_POINTS else None,
            markersize=3,
        )
    values = [value for line in lines for _, value in line.curve]
    if panel.logarithmic and min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale("log")
    if panel.level is not None:
        axes.axhline(panel.level, color="0.5", linewidth=0.8, linestyle=":")
    axes.set(xlabel="step", ylabel=panel.unit)
    dress(axes)
    return svg_of(figure, prefix)


def dress(*row: Axes) -> None:
    """Set grids and spines of plots, and the legend of the last."""
    for axes in row:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    # The legend is beside the curves, so that it hides none of them.
    row[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))


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
