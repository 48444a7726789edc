"""Pictures of found and given landmarks."""

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.figure import Figure

from insightface_cakd.data.landmarks.points import PointSet
from insightface_cakd.report.plots import svg_of
from insightface_cakd.report.result import Drawing

SIDE = 160
GIVEN, FOUND = "#35e04f", "#ff3b30"


def draw_faces(points: PointSet, found: np.ndarray, errors: np.ndarray, count: int) -> list[Drawing]:
    """Return two drawings: the worst faces, and those about the median.

    Args:
        points: the set, with the given points.
        found: (N, K, 2), pixels.
        errors: (N,), by which faces are chosen.
        count: faces of a drawing, at most.
    """
    order = np.argsort(-errors, kind="stable")
    count = min(count, len(order))
    start = max(0, (len(order) - count) // 2)
    caption = "Green: given; red: found; a line joins the two. Numbers: error of the image."
    return [
        Drawing(title, caption, svg_of(_figure(points, found, errors, chosen.tolist()), prefix))
        for title, chosen, prefix in (
            ("Largest errors.", order[:count], "worst"),
            ("Errors about the median.", order[start : start + count], "median"),
        )
    ]


def _figure(points: PointSet, found: np.ndarray, errors: np.ndarray, chosen: Sequence[int]) -> Figure:
    figure = Figure(figsize=(1.7 * len(chosen), 2), layout="constrained")
    for axes, index in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        rgb = points.image(index)
        axes.imshow(cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
        stretch = SIDE / np.array(rgb.shape[1::-1], np.float32)
        given, ours = ((places + 0.5) * stretch - 0.5 for places in (points.points[index], found[index]))
        for one, other in zip(given, ours, strict=True):
            axes.plot(*zip(one, other, strict=True), color="white", linewidth=0.6)
        size = 3 if len(given) < 20 else 1.4
        axes.plot(*given.T, "o", color=GIVEN, markersize=size)
        axes.plot(*ours.T, "o", color=FOUND, markersize=size)
        axes.set(xlim=(-0.5, SIDE - 0.5), ylim=(SIDE - 0.5, -0.5))
        axes.set_axis_off()
        axes.set_title(f"{errors[index]:.3f}", fontsize=9)
    return figure
