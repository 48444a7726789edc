"""Variants of sets of aligned faces: masked, low resolution, mirrored.

They make any set harder. Nothing in them is random.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from insightface_cakd.data.align.similarity import TEMPLATE
from insightface_cakd.data.bins import VerificationSet
from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.errors import EvaluationError, did_you_mean

Transform = Callable[[np.ndarray], np.ndarray]
On = Literal["probe", "both"]

# A surgical mask's blue, RGB.
MASK_COLOUR = (142, 180, 206)
PLAIN, SINGLE = "plain", "single"
# `single` is there to compare `flipped` with.
ALL = (PLAIN, "masked", "lowres:28", "lowres:14", SINGLE, "flipped")
NAMES = (PLAIN, "masked", "lowres:N", SINGLE, "flipped")


@dataclass(frozen=True)
class Variant:
    """A version of a set.

    Args:
        name: as the user writes it.
        transform: maps a uint8 (H, W, 3) face to another of that shape.
        mirrored: whether the mirror image's embedding is added, as in the protocol. A flipped face would make no
            difference to that sum; therefore `flipped` goes without, and `single` shows what going without costs.
    """

    name: str
    transform: Transform
    mirrored: bool = True


def parse_variants(names: Sequence[str]) -> list[Variant]:
    """Return the variants with some names.

    `all` stands for six of them, no name for the plain one.

    Args:
        names: `plain`, `masked`, `lowres:N` with N pixels per side, `single`, `flipped` or `all`.

    Raises:
        EvaluationError: a name is unknown.
    """
    wanted = [name for given in names or (PLAIN,) for name in (ALL if given == "all" else (given,))]
    return [_variant(name) for name in dict.fromkeys(wanted)]


def vary(pairs: VerificationSet, variant: Variant, on: On = "probe") -> VerificationSet:
    """Return a variant of a set.

    Args:
        pairs: the set.
        variant: how to change images.
        on: `probe` leaves the first image of each pair, the enrolled one, unchanged.
    """
    images = pairs.images.copy()
    for place in range(1 if on == "probe" else 0, len(images), 2 if on == "probe" else 1):
        images[place] = variant.transform(images[place])
    return VerificationSet(images, pairs.same)


def mask(face: np.ndarray) -> np.ndarray:
    """Cover nose, mouth and chin of an aligned face.

    The shape is that of a surgical mask.

    Args:
        face: uint8 (S, S, 3), aligned to InsightFace's template; the mask's corners follow from its five points.
    """
    covered = face.copy()
    corners = np.rint(mask_corners() * (len(face) / FACE_SIZE)).astype(np.int32)
    return cv2.fillPoly(covered, [corners], MASK_COLOUR)


def mask_corners() -> np.ndarray:
    """Return the mask's outline (8, 2) in pixels of 112 x 112.

    It goes from the left cheek over the nose and down to the chin. Widths are multiples of the distance between the
    eyes: the mask begins between eyes and nose tip, is as wide as a face, and ends at the lower edge of the image.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = TEMPLATE.astype(np.float64)
    apart = right_eye[0] - left_eye[0]
    eyes, mouth, middle = (left_eye[1] + right_eye[1]) / 2, (left_mouth[1] + right_mouth[1]) / 2, nose[0]
    bridge, cheek, bottom = eyes + 0.45 * (nose[1] - eyes), eyes + 0.75 * (nose[1] - eyes), FACE_SIZE - 1
    half = [(0.25, bridge), (1.1, cheek), (1.05, mouth), (0.55, bottom)]
    left = [(middle - part * apart, y) for part, y in half]
    right = [(middle + part * apart, y) for part, y in half]
    return np.array([*left[::-1], *right])


def lower(face: np.ndarray, side: int) -> np.ndarray:
    """Return a face as a distant camera sees it.

    It is averaged down to a few pixels, then enlarged again by bicubic interpolation.

    Args:
        face: uint8 (S, S, 3).
        side: pixels per side of the small image.
    """
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def flip(face: np.ndarray) -> np.ndarray:
    """Return the mirror image.

    Args:
        face: (H, W, 3).
    """
    return face[:, ::-1]


def _variant(name: str) -> Variant:
    fixed = {
        PLAIN: Variant(PLAIN, _same),
        "masked": Variant("masked", mask),
        SINGLE: Variant(SINGLE, _same, mirrored=False),
        "flipped": Variant("flipped", flip, mirrored=False),
    }
    if name in fixed:
        return fixed[name]
    side = re.fullmatch(r"lowres:(\d{1,3})", name)
    if side and 1 <= int(side[1]) < FACE_SIZE:
        return Variant(name, lambda face: lower(face, int(side[1])))
    raise EvaluationError(
        f"--variant {name}: unknown; expected all or one of {', '.join(NAMES)}, N from 1 to {FACE_SIZE - 1}."
        f"{did_you_mean(name, (*ALL, 'all'))} Correct it, for example --variant lowres:14."
    )


def _same(face: np.ndarray) -> np.ndarray:
    return face
