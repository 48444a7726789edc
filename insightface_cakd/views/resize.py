"""Weights of OpenCV's interpolations, as matrices.

A resize of an image is `weights @ image @ weights.T`, so that a batch of images of several sizes is one product.
"""

from collections.abc import Callable, Iterable

import numpy as np

# OpenCV's constant of the cubic.
SHARPNESS = -0.75


def area_weights(side: int, size: int) -> np.ndarray:
    """Return the share of each pixel in each larger one, (size, side)."""
    edges = np.arange(size + 1) * side / size
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * size / side


def nearest_weights(before: int, after: int) -> np.ndarray:
    """Return 1 for the pixel that each new one copies, (after, before)."""
    weights = np.zeros((after, before))
    weights[np.arange(after), np.minimum(np.arange(after) * before // after, before - 1)] = 1
    return weights


def linear_weights(before: int, after: int) -> np.ndarray:
    """Return bilinear weights of two neighbours, (after, before), without averaging."""
    return _neighbours(before, after, (0, 1), lambda distance: np.clip(1 - distance, 0, None))


def cubic_weights(before: int, after: int) -> np.ndarray:
    """Return bicubic weights of four neighbours, (after, before), without averaging."""
    return _neighbours(before, after, (-1, 0, 1, 2), _cubic)


def lanczos_weights(before: int, after: int) -> np.ndarray:
    """Return Lanczos weights of eight neighbours, (after, before), without averaging."""
    weights = _neighbours(before, after, range(-3, 5), lambda distance: np.sinc(distance) * np.sinc(distance / 4))
    return weights / weights.sum(axis=1, keepdims=True)


def _neighbours(
    before: int, after: int, offsets: Iterable[int], weight: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return weights by distance, each new pixel in the middle of what it covers; the border repeats."""
    places = (np.arange(after) + 0.5) * before / after - 0.5
    weights = np.zeros((after, before))
    for offset in offsets:
        near = np.floor(places) + offset
        np.add.at(weights, (np.arange(after), np.clip(near, 0, before - 1).astype(int)), weight(np.abs(places - near)))
    return weights


def _cubic(distance: np.ndarray) -> np.ndarray:
    a, x = SHARPNESS, distance
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


# Averaging needs more pixels before than after.
DOWN = {
    "area": area_weights,
    "nearest": nearest_weights,
    "linear": linear_weights,
    "cubic": cubic_weights,
    "lanczos": lanczos_weights,
}
UP = {kind: weights for kind, weights in DOWN.items() if kind != "area"}
