"""The ROC plot of an IJB run."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from insightface_cakd.evaluate.ijb.presets import FARS
from insightface_cakd.evaluate.ijb.roc import Roc
from insightface_cakd.report.colours import Colours
from insightface_cakd.report.plots import ENOUGH, dress, one_plot
from insightface_cakd.report.result import Drawing

POINTS = 400


def roc_drawings(name: str, curves: Mapping[str, Roc]) -> list[Drawing]:
    """Return the plot for a page, if there are points enough.

    Args:
        name: the model.
        curves: by mode.
    """
    if min(len(roc.impostors) for roc in curves.values()) < ENOUGH:
        return []
    said = [f"{mode}: area under the curve {roc.auc:.4f}" for mode, roc in curves.items()]
    caption = "TAR over FAR, from the lowest FAR that the pairs support."
    return [Drawing("ROC", caption, lambda colours: roc_figure(name, curves, colours), f"{'; '.join(said)}.")]


def roc_figure(name: str, curves: Mapping[str, Roc], colours: Colours) -> Figure:
    """Return the ROC curves, from the lowest FAR that the pairs support.

    The axis does not start below the lowest of `FARS`. A single curve has the model's colour.

    Args:
        name: the model.
        curves: by mode.
        colours: of the page.
    """
    figure, axes = one_plot()
    for mode, roc in curves.items():
        colour = colours.of(name if len(curves) == 1 else f"{name}: {mode}")
        axes.plot(*_shown(roc), label=f"{name}: {mode}, AUC {roc.auc:.4f}", color=colour, linewidth=1.5)
    axes.set(xscale="log", xlim=(min(map(_lowest, curves.values())), 1), ylim=(0, 1.02), xlabel="FAR", ylabel="TAR")
    return dress(figure, axes)


def _lowest(roc: Roc) -> float:
    return max(FARS[0], 1 / len(roc.impostors))


def _shown(roc: Roc) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a curve that can be told apart on a logarithmic axis."""
    places = np.searchsorted(roc.fpr, np.geomspace(_lowest(roc), 1, POINTS), "right") - 1
    places = np.unique(places[places >= 0])
    return roc.fpr[places], roc.tpr[places]
