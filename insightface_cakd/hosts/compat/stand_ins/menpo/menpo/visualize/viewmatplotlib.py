"""The colours of a plot, from matplotlib."""

import matplotlib
import numpy as np


def sample_colours_from_colourmap(n_colours: int, colour_map: str) -> list[tuple[float, float, float]]:
    """Return RGB colours in [0, 1], evenly spaced over a colour map."""
    colours = matplotlib.colormaps[colour_map]
    return [colours(float(place))[:3] for place in np.linspace(0.0, 1.0, n_colours, endpoint=False)]
