"""Pictures of found and given landmarks."""

from collections.abc import Sequence

import cv2
import numpy as np

from insightface_cakd.data.images import encode_jpeg
from insightface_cakd.data.landmarks.points import PointSet
from insightface_cakd.report.result import Gallery, Tile

SIDE = 224
GIVEN, FOUND, JOINED = (53, 224, 79), (255, 59, 48), (255, 255, 255)
# OpenCV takes places in parts of a pixel, of so many bits.
BITS = 4


def face_galleries(points: PointSet, found: np.ndarray, errors: np.ndarray, count: int) -> list[Gallery]:
    """Return the worst faces, and others about the median.

    Args:
        points: the set, with the given points.
        found: (N, K, 2), pixels.
        errors: (N,), by which faces are chosen.
        count: faces of a gallery, at most.
    """
    order = np.argsort(-errors, kind="stable")
    worst, rest = order[:count], order[count:]
    start = max(0, (len(order) - count) // 2 - len(worst))
    caption = "Green rings: given; red dots: found; a line joins the two. Below each face, its error."
    return [
        Gallery(title, said, [_tile(points, found[index], float(errors[index]), int(index)) for index in chosen])
        for title, said, chosen in (
            ("Largest errors", caption, worst),
            ("Errors about the median", "", rest[start : start + count]),
        )
        if len(chosen)
    ]


def _tile(points: PointSet, found: np.ndarray, error: float, index: int) -> Tile:
    picture = drawn_points(points.image(index), points.points[index], found)
    return Tile(
        (encode_jpeg(picture, 90),),
        f"{error:.3f}",
        f"A face, {points.title(index)}, with given and found points: error {error:.3f}",
    )


def drawn_points(rgb: np.ndarray, given: np.ndarray, found: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Return a face with both kinds of points, uint8 (side, side, 3).

    Shape:
        rgb: uint8 (H, W, 3). given: (K, 2), pixels. found: (K, 2), pixels.
    """
    picture = cv2.resize(np.ascontiguousarray(rgb), (side, side), interpolation=cv2.INTER_AREA)
    stretch = side / np.array(rgb.shape[1::-1], np.float32)
    # The image may be far smaller than the error of an untrained network.
    pairs = [np.clip((places + 0.5) * stretch - 0.5, -side, 2 * side) for places in (given, found)]
    radius = 6 if len(given) < 20 else 3
    for one, other in zip(*(_fixed(places) for places in pairs), strict=True):
        cv2.line(picture, one, other, JOINED, 1, cv2.LINE_AA, BITS)
        cv2.circle(picture, one, radius << BITS, GIVEN, 2, cv2.LINE_AA, BITS)
        cv2.circle(picture, other, (radius - 2) << BITS, FOUND, cv2.FILLED, cv2.LINE_AA, BITS)
    return picture


def _fixed(places: np.ndarray) -> Sequence[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in np.round(places * (1 << BITS))]
