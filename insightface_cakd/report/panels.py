"""The curves that runs logged, as drawings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from insightface_cakd.report.colours import Colours
from insightface_cakd.report.curves import Curve
from insightface_cakd.report.plots import dress, one_plot
from insightface_cakd.report.result import Drawing

LINE_STYLES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
FEW_POINTS = 30
# Fewer points show no course: their values are in the table of runs.
ENOUGH = 3

RAW, WEIGHTED, MARGIN = "distill/raw/", "distill/weighted/", "distill/raw/margin"


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
        (RAW,),
        "Each term before its weight, in its own unit. Terms of weight 1 are among the weighted ones.",
        logarithmic=True,
    ),
    Panel(
        "Attention loss",
        "squared difference",
        (f"{RAW}urfm_attention",),
        "How far the self-attention over the student's local fields is from that over the teacher's.",
        logarithmic=True,
    ),
    Panel(
        "Feature loss",
        "squared difference",
        (f"{RAW}urfm_feature",),
        "How far the student's local fields are from the teacher's, which have variance 1.",
        logarithmic=True,
    ),
    Panel(
        "Anchors",
        "1 - cosine",
        (f"{RAW}urfm_anchor", f"{RAW}prompt_anchor"),
        "How far what the teacher's fields tell is from its embedding, and its embedding with prompts from that without.",
        logarithmic=True,
    ),
    Panel(
        "Weighted terms",
        "value",
        (WEIGHTED, MARGIN),
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
        (f"{RAW}similarity/",),
        "Mean over the faces of a batch: fresh ones of the generator, those near them that come next, or real ones.",
    ),
    Panel(
        "Speed of generator, teacher and student",
        "images/s",
        (f"{RAW}images_per_second/",),
        "Of one rank, each part alone; the student's is the rest of the step, forward and backward.",
        logarithmic=True,
    ),
    Panel("Learning rate", "learning rate", ("train/learning_rate",), "Of the optimiser, step by step."),
    Panel("Throughput", "images/s", ("train/images_per_second",), "All ranks together, data loading included."),
)
# Tags with a panel of their own: a panel of their prefix leaves them out.
NAMED = frozenset(tag for panel in PANELS for tag in panel.tags if not tag.endswith("/"))


@dataclass(frozen=True)
class Course:
    """The drawings of runs' curves, and the titles of those left out.

    Args:
        drawings: in the order of `PANELS`.
        too_short: panels without a curve of `ENOUGH` points.
    """

    drawings: tuple[Drawing, ...]
    too_short: tuple[str, ...]


def draw_panels(runs: Mapping[str, Mapping[str, Curve]]) -> Course:
    """Return each plot of run -> tag -> curve."""
    drawings, too_short = [], []
    for panel in PANELS:
        lines = list(_lines(panel, runs))
        long = [line for line in lines if len(line.curve) >= ENOUGH]
        if long:
            drawings.append(_drawing(panel, long))
        elif lines:
            too_short.append(panel.title)
    return Course(tuple(drawings), tuple(too_short))


def _lines(panel: Panel, runs: Mapping[str, Mapping[str, Curve]]) -> Iterator[Line]:
    for run, curves in runs.items():
        for tag, curve in curves.items():
            what = _name(panel, tag)
            # A term of weight 1 would be drawn twice.
            again = panel.tags == (RAW,) and curves.get(tag.replace(RAW, WEIGHTED)) == curve
            if curve and what is not None and not again:
                yield Line(run, what, curve)


def _name(panel: Panel, tag: str) -> str | None:
    """Return a tag's name in a panel, None if not shown."""
    for beginning in panel.tags:
        if tag == beginning:
            return tag.rpartition("/")[2]
        rest = tag.removeprefix(beginning)
        # What lies deeper, such as the parts of a task, has a panel of its own.
        if beginning.endswith("/") and rest != tag and "/" not in rest and tag not in NAMED:
            return rest
    return None


def _drawing(panel: Panel, lines: list[Line]) -> Drawing:
    """Return a panel's drawing: its title says what all lines share, the legend where they differ."""
    runs, names = (
        list(dict.fromkeys(values)) for values in zip(*((line.run, line.what) for line in lines), strict=True)
    )
    labels = [_label(line, len(runs) > 1, len(names) > 1) for line in lines]
    parts = [panel.title]
    parts += [names[0]] if len(names) == 1 and panel.tags[0].endswith("/") else []
    parts += [runs[0]] if len(runs) == 1 and len(names) > 1 else []
    said = [
        f"{label} from {line.curve[0][1]:.4g} at step {line.curve[0][0]} to {line.curve[-1][1]:.4g} at step {line.curve[-1][0]}"
        for label, line in zip(labels, lines, strict=True)
    ]

    def draw(colours: Colours) -> Figure:
        return _draw(panel, list(zip(labels, lines, strict=True)), colours)

    return Drawing(", ".join(parts), panel.caption, draw, f"{'; '.join(said)}.")


def _label(line: Line, several_runs: bool, several_names: bool) -> str:
    if not several_names:
        return line.run
    return f"{line.run}: {line.what}" if several_runs else line.what


def _draw(panel: Panel, labelled: list[tuple[str, Line]], colours: Colours) -> Figure:
    """Return a panel's figure: runs differ in colour, tags in line style.

    Where there is one run, tags differ in colour too.
    """
    names = list(dict.fromkeys(line.what for _, line in labelled))
    by_run = len({line.run for _, line in labelled}) > 1 or len(names) == 1
    figure, axes = one_plot()
    for label, line in labelled:
        axes.plot(
            *zip(*line.curve, strict=True),
            label=label,
            color=colours.of(line.run if by_run else f"{line.run}: {line.what}"),
            linestyle=LINE_STYLES[names.index(line.what) % len(LINE_STYLES)],
            linewidth=1.5,
            marker="o" if len(line.curve) < FEW_POINTS else None,
            markersize=3,
        )
    values = [value for _, line in labelled for _, value in line.curve]
    if panel.logarithmic and min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale("log")
    if panel.level is not None:
        axes.axhline(panel.level, color="0.5", linewidth=1, linestyle=":")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="step", ylabel=panel.unit)
    return dress(figure, axes)
