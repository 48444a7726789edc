"""Plots of a comparison: ROC, DET, accuracy against milliseconds and megabytes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from insightface_cakd.evaluate.compare.comparison import Cost, PairComparison
from insightface_cakd.evaluate.pairs.verification import VerificationResult
from insightface_cakd.report.plots import dress, svg_of
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
    """Yield ROC and DET of each set, then accuracy against cost."""
    for number, name in enumerate(comparison.sets):
        yield Drawing(
            f"{name}: ROC and DET.",
            "Left, the share of same pairs accepted; right, refused; both where so large a share of different pairs is accepted.",
            _curves({model: scored.verified[name] for model, scored in comparison.models.items()}, f"roc{number}"),
        )
    yield Drawing(
        "Accuracy against cost.",
        "Mean over the sets with its interval; one face on this CPU, and the file.",
        svg_of(cost_figure(comparison, costs), "cost"),
    )


def _curves(models: Mapping[str, VerificationResult], prefix: str) -> str:
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    refused_most = []
    for number, (name, verified) in enumerate(models.items()):
        curve = roc_curve(verified)
        style = {"label": name, "color": f"C{number}", "linewidth": 1.3, "drawstyle": "steps-post"}
        left.plot(curve.far, curve.tar, **style)
        # A logarithmic axis has no 0: no refusal is drawn as half a pair.
        refused = np.maximum(1 - curve.tar, 0.5 / verified.same.sum())
        right.plot(curve.far, refused, **style)
        refused_most.append(refused.max())
    left.set(xscale="log", xlabel="FAR", ylabel="TAR")
    right.set(xscale="log", yscale="log", xlabel="FAR", ylabel="FRR", ylim=(None, 1.1 * max(refused_most)))
    dress(left, right)
    return svg_of(figure, prefix)


def cost_figure(comparison: PairComparison, costs: Mapping[str, Cost]) -> Figure:
    """Return accuracy with its interval, against milliseconds and against megabytes."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for number, (name, scored) in enumerate(comparison.models.items()):
        middle, spread = 100 * scored.accuracy, scored.mean_interval
        error = [[max(0.0, middle - 100 * spread.low)], [max(0.0, 100 * spread.high - middle)]]
        for axes, cost in ((left, costs[name].latency.median), (right, costs[name].megabytes)):
            axes.errorbar([cost], [middle], error, fmt="o", capsize=3, color=f"C{number}", label=name)
    slowest = max(costs[name].latency.median for name in comparison.models)
    largest = max(costs[name].megabytes for name in comparison.models)
    left.set(xlabel="ms for one face", ylabel="accuracy, %", xlim=(0, BEYOND * slowest))
    right.set(xlabel="MB", xlim=(0, BEYOND * largest))
    dress(left, right)
    return figure
