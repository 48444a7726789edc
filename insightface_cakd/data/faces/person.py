"""The parameters of a drawn person and of each picture."""

from dataclasses import dataclass

import numpy as np

SKINS = np.array([(243, 214, 190), (226, 184, 152), (198, 149, 112), (156, 107, 75), (110, 72, 50)], float)
HAIRS = np.array([(28, 22, 20), (70, 45, 30), (120, 80, 45), (190, 150, 90), (150, 60, 30), (160, 160, 160)], float)
IRISES = np.array([(70, 45, 25), (110, 80, 40), (70, 110, 70), (80, 120, 170), (60, 60, 60)], float)


@dataclass(frozen=True)
class Person:
    """A person's appearance, the same in every picture; colours are RGB.

    Args:
        shape: geometry, each in [-1, 1]: face height, jaw width, chin, eye distance, eye size, eye openness, eye slant,
            brow height, brow thickness, brow angle, nose length, nose width, mouth width, upper lip, lower lip, mouth
            height, hairline, ear size.
        moles: rows (x, y, radius) on the face, in units of half its width.
    """

    shape: np.ndarray
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    moles: np.ndarray

    @classmethod
    def draw(cls, seed: int, number: int) -> "Person":
        """Return the person that a seed and a number give."""
        random = np.random.default_rng((seed, number))
        moles = random.uniform((-0.65, -0.2, 0.02), (0.65, 0.75, 0.05), (int(random.integers(0, 4)), 3))
        skin = _between(SKINS, random)
        return cls(
            random.uniform(-1, 1, 18), skin, _between(HAIRS, random), IRISES[random.integers(len(IRISES))], moles
        )


@dataclass(frozen=True)
class View:
    """The conditions of one picture; angles in radians, colours RGB.

    Args:
        roll, scale, shift: rotation, scale factor and displacement (x, y) in pixels left by the alignment.
        light: direction (x, y) and strength of the gradient.
        tint: gain of each colour channel.
        smile: curvature of the mouth.
        open_mouth, brows: how far the mouth is open and the brows are raised, in head units.
        lids: how far the eyes are closed, 0 to 1.
        gaze: displacement (x, y) of the irises.
        background: two colours, top and bottom.
        cover: what covers a part of the face: "", "glasses", "mask", "hat" or "patch".
        dye: colour that replaces the hair's.
        blur, noise: standard deviations in pixels and in grey levels.
        detail: side in pixels, at most 112, to which the picture is reduced before it is enlarged again.
        seed: seed of the noise and of the cover.
    """

    yaw: float
    pitch: float
    roll: float
    scale: float
    shift: np.ndarray
    light: np.ndarray
    tint: np.ndarray
    smile: float
    open_mouth: float
    brows: float
    lids: float
    gaze: np.ndarray
    background: np.ndarray
    cover: str
    dye: np.ndarray | None
    blur: float
    noise: float
    detail: int
    seed: int

    @classmethod
    def draw(cls, seed: int, number: int, picture: int) -> "View":
        """Return the conditions that a seed, a person and a picture give."""
        random = np.random.default_rng((seed, number, picture, 1))
        return cls(
            yaw=float(np.clip(random.normal(0, 0.2), -0.5, 0.5)),
            pitch=float(np.clip(random.normal(0, 0.1), -0.3, 0.3)),
            roll=float(random.normal(0, 0.03)),
            scale=float(random.normal(1, 0.025)),
            shift=random.normal(0, 1.2, 2),
            light=np.array([*random.normal(0, 0.22, 2), random.uniform(0.75, 1.1)]),
            tint=random.uniform(0.88, 1.12, 3),
            smile=float(random.normal(0.1, 0.2)),
            open_mouth=float(max(0, random.normal(-0.05, 0.12))),
            brows=float(random.normal(0, 0.06)),
            lids=float(np.clip(random.normal(0.1, 0.2), 0, 0.9)),
            gaze=random.normal(0, 0.25, 2),
            background=random.uniform(60, 190, 3) + random.uniform(-40, 40, (2, 3)),
            cover=str(random.choice(["", "glasses", "mask", "hat", "patch"], p=[0.68, 0.14, 0.04, 0.07, 0.07])),
            dye=_between(HAIRS, random) if random.random() < 0.12 else None,
            blur=float(random.choice([0, 0.6, 1.2, 2.0], p=[0.55, 0.3, 0.1, 0.05])),
            noise=float(random.uniform(0, 6)),
            detail=int(random.choice([112, 56, 36], p=[0.8, 0.14, 0.06])),
            seed=int(random.integers(2**31)),
        )


def _between(colours: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a random colour between two neighbours of a palette."""
    place = random.uniform(0, len(colours) - 1)
    low = int(place)
    return colours[low] + (place - low) * (colours[min(low + 1, len(colours) - 1)] - colours[low])
