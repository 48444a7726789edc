"""The picture of two compared faces."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from insightface_cakd.evaluate.pairs.verdict import Verdict

# Of colour-blind-safe blue and orange; the words say it too.
COLOURS = {None: "#555555", True: "#0b6fa4", False: "#b3500f"}
WIDTH, HEIGHT = 6.0, 4.2


def draw_verdict(faces: Sequence[np.ndarray], names: Sequence[str], verdict: Verdict) -> Figure:
    """Return a figure of both faces, their cosine and the verdict.

    Args:
        faces: two of uint8 (112, 112, 3) RGB, as the model saw them.
        names: of the two.
        verdict: on them.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT))
    for place, (face, name) in enumerate(zip(faces, names, strict=True)):
        axes = figure.add_axes((0.06 + 0.46 * place, 0.36, 0.42, 0.6))
        axes.imshow(face, interpolation="bicubic")
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(name if len(name) < 40 else f"...{name[-36:]}", fontsize=9)
    colour = COLOURS[verdict.same]
    text = f"similarity {verdict.similarity:.3f}" + ("" if verdict.same is None else f": {verdict.words}")
    figure.text(0.5, 0.21, text, ha="center", fontsize=15, weight="bold", color=colour)
    scale = figure.add_axes((0.1, 0.145, 0.8, 0.02))
    scale.set(xlim=(-1, 1), ylim=(0, 1), yticks=[])
    scale.tick_params(labelsize=8)
    scale.axvspan(-1, 1, color="#dddddd")
    scale.plot(verdict.similarity, 0.5, marker="o", markersize=9, color=colour, clip_on=False, zorder=3)
    note = "no threshold, so no verdict"
    if verdict.threshold is not None:
        limit = verdict.threshold.cosine
        scale.plot(limit, 0.5, marker="|", markersize=18, markeredgewidth=2, color="black", clip_on=False)
        note = f"| threshold {limit:.3f}: {verdict.threshold.origin.partition(', where ')[0]}"
    figure.text(0.5, 0.078, textwrap.fill(note, 95), ha="center", va="top", fontsize=8)
    return figure
