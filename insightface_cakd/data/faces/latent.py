"""A drawn face as a function of a vector of normal numbers."""

import math
import zlib
from typing import TypeVar

import numpy as np

from insightface_cakd.data.faces.draw import SIZE, draw_face
from insightface_cakd.data.faces.person import HAIRS, IRISES, SKINS, Person, View

T = TypeVar("T")

SHAPE = 18
MOLES = 3
# Of the person: shape, skin, hair, iris, moles of (x, y, radius). Of the view: see `_view`.
PERSON = SHAPE + 3 + 3 * MOLES
VIEW = 33
WIDTH = PERSON + VIEW
# Share of faces from which each cover is drawn, in the order of the intervals of one coordinate.
COVERS = ((0.68, ""), (0.82, "glasses"), (0.86, "mask"), (0.93, "hat"), (1.0, "patch"))
BLURS = ((0.55, 0.0), (0.85, 0.6), (0.95, 1.2), (1.0, 2.0))
DETAILS = ((0.8, SIZE), (0.94, 56), (1.0, 36))
DYED = 0.12


def draw_latent(latent: np.ndarray) -> np.ndarray:
    """Return the face of a latent vector, uint8 (112, 112, 3) RGB.

    The first coordinates are the person's, the others the picture's. Standard normal coordinates give nearly the distribution of
    `Person.draw` and `View.draw`: a uniform value is u = Phi(w), a normal one its deviation times w. So a nearby vector is a similar
    face in a similar picture, but for what is chosen among few (cover, blur, detail) and for the noise.

    Shape:
        latent: (WIDTH,), any finite numbers.
    """
    place = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in latent])
    return draw_face(_person(place[:PERSON]), _view(latent[PERSON:], place[PERSON:], latent))


def _person(place: np.ndarray) -> Person:
    """Return the person of uniform coordinates; a mole of radius below 0.02 is left out."""
    skin, hair, iris = place[SHAPE : SHAPE + 3]
    low, high = np.array([-0.65, -0.2, -0.01]), np.array([0.65, 0.75, 0.05])
    moles = low + (high - low) * place[SHAPE + 3 :].reshape(MOLES, 3)
    return Person(
        2 * place[:SHAPE] - 1,
        _between(SKINS, skin),
        _between(HAIRS, hair),
        _between(IRISES, iris),
        moles[moles[:, 2] > 0.02],
    )


def _view(normal: np.ndarray, place: np.ndarray, latent: np.ndarray) -> View:
    """Return the view of normal coordinates and of their uniform places."""
    return View(
        yaw=float(np.clip(0.2 * normal[0], -0.5, 0.5)),
        pitch=float(np.clip(0.1 * normal[1], -0.3, 0.3)),
        roll=0.03 * float(normal[2]),
        scale=float(np.clip(1 + 0.025 * normal[3], 0.8, 1.2)),
        shift=1.2 * normal[4:6],
        light=np.array([0.22 * normal[6], 0.22 * normal[7], 0.75 + 0.35 * place[8]]),
        tint=0.88 + 0.24 * place[9:12],
        smile=0.1 + 0.2 * float(normal[12]),
        open_mouth=max(0.0, -0.05 + 0.12 * float(normal[13])),
        brows=0.06 * float(normal[14]),
        lids=float(np.clip(0.1 + 0.2 * normal[15], 0, 0.9)),
        gaze=0.25 * normal[16:18],
        background=60 + 130 * place[18:21] + 80 * place[21:27].reshape(2, 3) - 40,
        cover=_chosen(COVERS, place[27]),
        dye=_between(HAIRS, place[29]) if place[28] < DYED else None,
        blur=_chosen(BLURS, place[30]),
        noise=6 * float(place[31]),
        detail=_chosen(DETAILS, place[32]),
        seed=zlib.crc32(np.ascontiguousarray(latent, np.float32).tobytes()) >> 1,
    )


def _between(colours: np.ndarray, share: float) -> np.ndarray:
    """Return the colour at a share, 0 to 1, of the way along a palette."""
    place = share * (len(colours) - 1)
    low = min(int(place), len(colours) - 2)
    return np.asarray(colours[low] + (place - low) * (colours[low + 1] - colours[low]))


def _chosen(table: tuple[tuple[float, T], ...], share: float) -> T:
    """Return the value of the interval in which a share lies."""
    return next((value for end, value in table if share < end), table[-1][1])
