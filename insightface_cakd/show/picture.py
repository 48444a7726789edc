"""The picture of where student and teacher look, before and after."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import EvaluationError
from insightface_cakd.runtime.atomic import writing
from insightface_cakd.show.attention import View, centroids, chosen, heat, peaks, sentences

MOST = 16
FORMATS = (".png", ".pdf", ".svg")
COLOURS = matplotlib.colormaps["inferno"]
GAP = 6
DPI = 130
MARKS = (
    "Lower panels: disc, where the mean of a centre's maps is highest (discs of one patch stand around it); diamond, the mean place of "
    "its attention; +, landmarks of an aligned face."
)

# Inches.
WIDTH, LABEL, MARGIN, HEAD, SPACE, LINE = 15.6, 1.9, 0.25, 0.5, 0.14, 0.22
LARGEST, FACE, PANEL = 1.3, 1.05, 3.3


@dataclass(frozen=True, eq=False)
class Look:
    """What there is to draw.

    Args:
        faces: uint8 (F, 112, 112, 3) RGB, to be drawn.
        views: student before, student after, teacher before, teacher after; each of these faces first, then of any number of further
            faces, which count in the numbers.
        mean_face: (112, 112), grey, 0 to 255; background of the places.
        landmarks: (5, 2), pixels (x, y) of the aligned face.
        heads: heads of the mapping, over which the maps are averaged.
    """

    faces: np.ndarray
    views: Sequence[View]
    mean_face: np.ndarray
    landmarks: np.ndarray
    heads: int = 1

    @property
    def shown(self) -> list[int]:
        """Indices of the centres that are drawn, from 0."""
        return chosen(self.views[0].maps.shape[1], MOST)

    @property
    def alt(self) -> str:
        """What there is to see."""
        return (
            f"Attention of {len(self.shown)} centres as heat maps on {len(self.faces)} faces, of student and teacher, before and after "
            "training, and where the centres lie on the mean face."
        )

    @property
    def caption(self) -> list[str]:
        """The caption, in sentences."""
        mean = f" Maps are means of {self.heads} heads." if self.heads > 1 else ""
        first, *rest = sentences(self.views, self.shown)
        return [first + mean, *rest, MARKS]


def draw(look: Look, title: str, captioned: bool = True) -> Figure:
    """Return the picture of the local centres.

    The first face has four rows of maps, the others two; below, panels show where the centres lie, averaged over all faces.

    Args:
        look: what there is to draw.
        title: above it.
        captioned: whether the caption is in the picture; a page has it below.
    """
    page = _Page(look, captioned)
    page.text(MARGIN, MARGIN, title, ha="left", va="top", fontsize=14)
    top = MARGIN + 1.4 * HEAD
    page.numbers(top)
    for number, rows in enumerate(page.rows):
        page.maps(number, rows, top)
        top += len(rows) * page.tile + 2 * SPACE
    page.summary(top + 0.7 * HEAD)
    page.text(MARGIN, page.height - MARGIN, "\n".join(page.lines), ha="left", va="bottom", fontsize=10, linespacing=1.4)
    return page.figure


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure atomically; the suffix is the format."""
    require_format(path)
    with writing(path, EvaluationError) as temporary:
        figure.savefig(temporary, format=path.suffix.lower()[1:], dpi=DPI)


def require_format(path: Path) -> None:
    """Check that the suffix of a path is a format of pictures."""
    if path.suffix.lower() not in FORMATS:
        raise EvaluationError(
            f"{path}: no name of a picture; expected one that ends in {', '.join(FORMATS)}. Rename it."
        )


def as_png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a .png."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()


def overlay(face: np.ndarray, warmth: np.ndarray) -> np.ndarray:
    """Return a grey face under a heat map in [0, 1].

    Shape:
        face: uint8 (H, W, 3); warmth: (H, W). Returns float (H, W, 3) in [0, 1].
    """
    grey = np.repeat(face.mean(axis=2, keepdims=True) / 255, 3, axis=2)
    cover = (0.05 + 0.8 * warmth)[..., None]
    return (1 - cover) * grey + cover * COLOURS(warmth)[..., :3]


def apart(places: np.ndarray, radius: float) -> np.ndarray:
    """Return places (P, 2), coinciding ones moved onto a circle."""
    moved = places.astype(float).copy()
    for place in np.unique(places, axis=0):
        same = np.flatnonzero((places == place).all(axis=1))
        if len(same) > 1:
            angles = 2 * np.pi * np.arange(len(same)) / len(same)
            moved[same] += radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return moved


class _Page:
    """A figure with elements placed from its top left corner, in inches."""

    def __init__(self, look: Look, captioned: bool) -> None:
        self.look = look
        self.lines = [line for text in look.caption for line in textwrap.wrap(text, 190)] if captioned else []
        self.rows = [range(4) if number == 0 else range(1, 4, 2) for number in range(len(look.faces))]
        self.tile = min(LARGEST, (WIDTH - 2 * MARGIN - LABEL) / len(look.shown))
        # The same gap between rows as between columns.
        self.high = self.tile * FACE_SIZE / (FACE_SIZE + GAP)
        maps = sum(len(rows) * self.tile + 2 * SPACE for rows in self.rows)
        self.height = 2 * MARGIN + 2.5 * HEAD + maps + PANEL + LINE * len(self.lines)
        self.figure = Figure(figsize=(WIDTH, self.height))
        self.heats = [heat(view.maps[: len(look.faces), look.shown]) for view in look.views]
        # The scale ends at a high quantile: the few hotter patches all get the last colour.
        self.scale = PowerNorm(0.5, 0, max(float(np.quantile(one, 0.995)) for one in self.heats), clip=True)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        box = (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        axes = self.figure.add_axes(box)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    def text(self, left: float, top: float, text: str, **how: Any) -> None:
        self.figure.text(left / WIDTH, 1 - top / self.height, text, **how)

    def numbers(self, top: float) -> None:
        """Write the number of each centre above its column."""
        left = MARGIN + LABEL
        self.text(left - 0.1, top - 0.05, "centre", ha="right", va="bottom", fontsize=10)
        for place, centre in enumerate(self.look.shown):
            self.text(
                left + (place + 0.5) * self.tile, top - 0.05, str(centre + 1), ha="center", va="bottom", fontsize=10
            )

    def maps(self, number: int, rows: Sequence[int], top: float) -> None:
        """Draw a face and the maps of all shown centres on it, one row per view."""
        face, left = self.look.faces[number], MARGIN + LABEL
        size = min(FACE, len(rows) * self.tile)
        self.axes(MARGIN, top + (len(rows) * self.tile - size) / 2, size, size).imshow(face, interpolation="bilinear")
        for place, row in enumerate(rows):
            view, here = self.look.views[row], top + place * self.tile
            tiles = np.ones((FACE_SIZE, len(self.look.shown) * (FACE_SIZE + GAP), 3))
            for index, one in enumerate(self.heats[row][number]):
                start = index * (FACE_SIZE + GAP) + GAP // 2
                tiles[:, start : start + FACE_SIZE] = overlay(face, np.asarray(self.scale(one)))
            self.axes(left, here, self.tile * len(self.look.shown), self.high).imshow(tiles, aspect="auto")
            label = f"{view.side}\n{view.moment.split()[0]}"
            self.text(left - 0.1, here + self.high / 2, label, ha="right", va="center", fontsize=10)

    def summary(self, top: float) -> None:
        """Draw where the centres lie on the mean face by view, and the scale."""
        space = (WIDTH - 2 * MARGIN - 4 * PANEL - 1.0) / 3
        for place, view in enumerate(self.look.views):
            axes = self.axes(MARGIN + place * (PANEL + space), top, PANEL, PANEL)
            self._places(axes, view)
            axes.set_title(f"{view.side}, {view.moment}", fontsize=11)
        bar = self.axes(WIDTH - MARGIN - 0.75, top, 0.16, PANEL)
        self.figure.colorbar(ScalarMappable(self.scale, COLOURS), cax=bar)
        bar.set_yticks([tick for tick in (0, 1, 2, 5, 10, 20, 50, 100) if tick <= (self.scale.vmax or 0)])
        bar.set_title("attention,\n1 = uniform", fontsize=9)

    def _places(self, axes: Axes, view: View) -> None:
        dark, light = np.percentile(self.look.mean_face, (1, 99))
        # Pale, so that the marks stand out.
        axes.imshow(
            self.look.mean_face,
            cmap="gray",
            vmin=dark - 1.5 * (light - dark) - 1,
            vmax=light,
            extent=(0, FACE_SIZE, FACE_SIZE, 0),
            interpolation="bilinear",
        )
        maps = view.maps[:, self.look.shown].mean(axis=0)
        colours = matplotlib.colormaps["tab20"](np.arange(len(maps)) % 20)
        spots = apart(peaks(maps), FACE_SIZE / max(view.grid) / 3)
        for centre, middle, spot, colour in zip(self.look.shown, centroids(maps), spots, colours, strict=True):
            axes.plot(*zip(middle, spot, strict=True), color=colour, linewidth=1, zorder=2)
            axes.plot(*middle, marker="D", color=colour, markersize=5, zorder=3)
            axes.plot(*spot, marker="o", color=colour, markersize=13, markeredgecolor="white", zorder=4)
            axes.text(float(spot[0]), float(spot[1]), str(centre + 1), ha="center", va="center", fontsize=8, zorder=5)
        axes.plot(*self.look.landmarks.T, "+", color="black", markersize=11, markeredgewidth=2, zorder=6)
