"""Plots of a comparison: ROC, DET, accuracy against milliseconds and megabytes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from insightface_cakd.evaluate.compare.comparison import Cost, PairComparison
from insightface_cakd.evaluate.pairs.verification import VerificationResult
from insightface_cakd.report.colours import Colours
from insightface_cakd.report.plots import ENOUGH, dress, one_plot
from insightface_cakd.report.result import Drawing

POINTS = 300
# Factor by which a cost axis extends beyond the largest cost, so that its point and error bar are not cut off.
BEYOND = 1.08


@dataclass(frozen=True, eq=False)
class Curve:
    """Strict TAR at ascending FAR, (K,), from one false accept on."""

    far: np.ndarray
    tar: np.ndarray


def roc_curve(verified: VerificationResult, points: int = POINTS) -> Curve:
    """Return TAR for increasing numbers of allowed false accepts.

    The numbers are spaced evenly on a logarithmic scale, from 1 to all different pairs; equal ones are merged.
    """
    genuine, impostors = np.sort(verified.distances[verified.same]), np.sort(verified.distances[~verified.same])
    allowed = np.unique(np.geomspace(1, len(impostors), points).astype(int))
    limits = np.append(impostors, np.inf)[allowed]
    return Curve(allowed / len(impostors), np.searchsorted(genuine, limits, "left") / len(genuine))


def drawings(comparison: PairComparison, costs: Mapping[str, Cost]) -> Iterator[Drawing]:
    """Yield ROC and DET of each set, then accuracy against cost.

    A set with too few points for a curve has none.
    """
    for name in comparison.sets:
        verified = {model: scored.verified[name] for model, scored in comparison.models.items()}
        curves = {model: roc_curve(one) for model, one in verified.items()}
        if min(len(curve.far) for curve in curves.values()) < ENOUGH:
            continue
        yield Drawing(
            f"{name}: ROC",
            "The share of same pairs accepted where so large a share of different pairs is.",
            lambda colours, curves=curves: roc_figure(curves, colours),  # type: ignore[misc]
            f"{_middles(curves, 'accepts')}.",
        )
        yield Drawing(
            f"{name}: DET",
            "The share of same pairs refused where so large a share of different pairs is accepted.",
            lambda colours, curves=curves, verified=verified: det_figure(curves, verified, colours),  # type: ignore[misc]
            f"{_middles(curves, 'refuses')}.",
        )
    said = [
        f"{name} {100 * scored.accuracy:.2f} %, {costs[name].latency.median:.2f} ms, {costs[name].megabytes:.2f} MB"
        for name, scored in comparison.models.items()
    ]
    times = {name: cost.latency.median for name, cost in costs.items()}
    sizes = {name: cost.megabytes for name, cost in costs.items()}
    for title, unit, of, what in (
        ("Accuracy against time", "ms for one face", times, "one face on this CPU"),
        ("Accuracy against size", "MB", sizes, "the file"),
    ):
        yield Drawing(
            title,
            f"Mean over the sets with its interval; {what}.",
            lambda colours, unit=unit, of=of: cost_figure(comparison, of, unit, colours),  # type: ignore[misc]
            f"{'; '.join(said)}.",
        )


def roc_figure(curves: Mapping[str, Curve], colours: Colours) -> Figure:
    """Return TAR over FAR of each model."""
    figure, axes = one_plot()
    for name, curve in curves.items():
        axes.plot(curve.far, curve.tar, label=name, color=colours.of(name), linewidth=1.5, drawstyle="steps-post")
    axes.set(xscale="log", xlabel="FAR", ylabel="TAR")
    return dress(figure, axes)


def det_figure(curves: Mapping[str, Curve], models: Mapping[str, VerificationResult], colours: Colours) -> Figure:
    """Return FRR over FAR of each model, both logarithmic."""
    figure, axes = one_plot()
    most = 0.0
    for name, curve in curves.items():
        # A logarithmic axis has no 0: no refusal is drawn as half a pair.
        refused = np.maximum(1 - curve.tar, 0.5 / models[name].same.sum())
        axes.plot(curve.far, refused, label=name, color=colours.of(name), linewidth=1.5, drawstyle="steps-post")
        most = max(most, float(refused.max()))
    axes.set(xscale="log", yscale="log", xlabel="FAR", ylabel="FRR", ylim=(None, 1.1 * most))
    return dress(figure, axes)


def cost_figure(comparison: PairComparison, costs: Mapping[str, float], unit: str, colours: Colours) -> Figure:
    """Return accuracy with its interval, against a cost of each model."""
    figure, axes = one_plot()
    for name, scored in comparison.models.items():
        middle, spread = 100 * scored.accuracy, scored.mean_interval
        error = [[max(0.0, middle - 100 * spread.low)], [max(0.0, 100 * spread.high - middle)]]
        axes.errorbar([costs[name]], [middle], error, fmt="o", capsize=3, color=colours.of(name), label=name)
    axes.set(xlabel=unit, ylabel="accuracy, %", xlim=(0, BEYOND * max(costs[name] for name in comparison.models)))
    return dress(figure, axes)


def _middles(curves: Mapping[str, Curve], does: str) -> str:
    """Return what each model does at the FAR nearest to a tenth, in words."""
    said = []
    for name, curve in curves.items():
        place = int(np.abs(np.log10(curve.far) + 1).argmin())
        share = curve.tar[place] if does == "accepts" else 1 - curve.tar[place]
        said.append(f"{name} {does} {100 * share:.1f} % of same pairs at FAR {curve.far[place]:.2g}")
    return "; ".join(said)
