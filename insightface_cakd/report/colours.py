"""The colours of a page, one for a name."""

from collections.abc import Iterable
from typing import Any

# Each has a contrast of 3 or more with both backgrounds of a page, the light and the dark one.
PALETTE = (
    "#3576d0",
    "#d4661a",
    "#1f9156",
    "#9a5fd0",
    "#d8433c",
    "#118c99",
    "#cf4a94",
    "#84831a",
    "#a0703c",
    "#6a7fa0",
    "#5560d8",
    "#6f9a1e",
)
LIGHT, DARK = "#ffffff", "#15181d"
# Stands for the colour of the text around a plot, which differs by mode.
INK = "#010203"
LOOK: dict[Any, Any] = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.2,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


class Colours:
    """Gives each model, and each term of a loss, its colour.

    Names get the colours of the palette in the order of their first mention, after the last one again from the first.

    Args:
        names: those mentioned before any plot is drawn.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = list(dict.fromkeys(names))

    def of(self, name: str) -> str:
        """Return a name's colour, `#rrggbb`."""
        if name not in self.names:
            self.names.append(name)
        return PALETTE[self.names.index(name) % len(PALETTE)]
