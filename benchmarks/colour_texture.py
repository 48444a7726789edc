"""Descriptions of faces by colour and texture, as in classical anti-spoofing."""

import cv2
import numpy as np

BINS = 16
# From the right, anticlockwise: (down, across) of the eight neighbours.
AROUND = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def grey_pixels(image: np.ndarray) -> np.ndarray:
    """Return 16 x 16 grey values (256,) of an RGB image, in [0, 1]."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).reshape(-1) / 255


def colour_texture(image: np.ndarray) -> np.ndarray:
    """Return histograms of colour and of uniform patterns.

    Of each channel in HSV and YCrCb: 16 bins of the values, and the 59 bins of `uniform_patterns`.

    Source:
        Idea of Boulkenafet et al., Face anti-spoofing based on color texture analysis, ICIP 2015; bins are an assumption.
    """
    parts = []
    for space, hue in ((cv2.COLOR_RGB2HSV, True), (cv2.COLOR_RGB2YCrCb, False)):
        for number, channel in enumerate(cv2.split(cv2.cvtColor(image, space))):
            top = 180 if hue and number == 0 else 256
            parts.append(np.histogram(channel, BINS, (0, top))[0] / channel.size)
            parts.append(uniform_patterns(channel))
    return np.concatenate(parts)


def uniform_patterns(channel: np.ndarray) -> np.ndarray:
    """Return the shares (59,) of local binary patterns of a channel.

    A pattern has a bit for each of eight neighbours at distance 1 (of the square, not interpolated on a circle) that is not darker than the
    pixel. The 58 with at most two changes around the circle have a bin each, all others share the last.

    Source:
        Ojala et al., Multiresolution gray-scale and rotation invariant texture classification, PAMI 2002.
    """
    height, width = channel.shape
    inner = channel[1:-1, 1:-1]
    code = np.zeros(inner.shape, np.int64)
    for bit, (down, across) in enumerate(AROUND):
        neighbour = channel[1 + down : height - 1 + down, 1 + across : width - 1 + across]
        code |= (neighbour >= inner).astype(np.int64) << bit
    return np.bincount(_bins()[code.reshape(-1)], minlength=59) / code.size


def _bins() -> np.ndarray:
    """Return the bin of each of the 256 patterns."""
    codes = np.arange(256)
    turned = (codes >> 1) | ((codes & 1) << 7)
    changes = np.array([int(one).bit_count() for one in codes ^ turned])
    bins = np.full(256, 58)
    bins[changes <= 2] = np.arange(58)
    return bins
