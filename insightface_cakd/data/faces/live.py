"""Drawn live faces and screen replays of them, in three domains."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from insightface_cakd.data.faces.draw import SIZE, draw_face
from insightface_cakd.data.faces.person import Person, View
from insightface_cakd.data.images import encode_jpeg
from insightface_cakd.runtime.progress import Progress

QUALITY = 90
AXIS = np.linspace(-1, 1, SIZE, dtype=np.float32)
# The last part of a picture's seed, so that a live and a replayed picture of a number differ.
KINDS = ("spoof", "live")


@dataclass(frozen=True)
class Camera:
    """The place and camera of a domain's pictures.

    Args:
        gain: factor of the brightness.
        slope: how much brighter the right and the lower edge are.
        tint: gain of each colour channel, RGB.
        noise, blur: standard deviations in grey levels and in pixels.
    """

    gain: float
    slope: tuple[float, float]
    tint: tuple[float, float, float]
    noise: float
    blur: float

    def photograph(self, scene: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return float32 (112, 112, 3) as uint8."""
        light = self.gain * (1 + self.slope[0] * AXIS[None, :, None] + self.slope[1] * AXIS[:, None, None])
        picture = scene * np.clip(light * random.uniform(0.9, 1.1), 0.1, 2) * np.array(self.tint, np.float32)
        picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), self.blur)
        noise = random.standard_normal(picture.shape, dtype=np.float32) * self.noise
        return np.clip(picture + noise + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Screen:
    """The screen on which a domain's spoofs are replayed.

    Args:
        period: range of the moire's period in pixels.
        moire: largest amplitude of the moire, as a share of the brightness.
        cast: gain of each colour channel, RGB.
        glare: largest brightness of a reflection, in grey levels.
        border: share of pictures that show an edge of the screen.
    """

    period: tuple[float, float]
    moire: float
    cast: tuple[float, float, float]
    glare: float
    border: float

    def replay(self, scene: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return a face (112, 112, 3) as the screen shows it, float32.

        Blur of its resolution, colour cast, moire, glare, then a dark edge; each of random strength.
        """
        shown = cv2.GaussianBlur(scene.astype(np.float32), (0, 0), random.uniform(0.4, 1.0))
        # Screens have less contrast, and black that shines.
        shown = (18 + 0.85 * shown) * (1 + random.uniform(0.4, 1) * (np.array(self.cast, np.float32) - 1))
        shown = shown * self._moire(random) + self._glare(random)
        return self._edge(shown.astype(np.float32), random)

    def _moire(self, random: np.random.Generator) -> np.ndarray:
        """Return gains (112, 112, 3): a grating whose phase differs by channel, as sub-pixels do."""
        angle = random.uniform(0, np.pi)
        along = np.cos(angle) * AXIS[None, :, None] + np.sin(angle) * AXIS[:, None, None]
        bend = 0.05 * random.normal() * (AXIS[None, :, None] ** 2 + AXIS[:, None, None] ** 2)
        phase = random.uniform(0, 2 * np.pi) + np.arange(3) * 2 * np.pi / 3
        waves = 2 * np.pi * (along + bend) * SIZE / 2 / random.uniform(*self.period)
        return 1 + self.moire * random.uniform(0.3, 1) * np.sin(waves + phase)

    def _glare(self, random: np.random.Generator) -> np.ndarray:
        """Return an elongated bright spot (112, 112, 1)."""
        (x, y), width = random.uniform(-0.9, 0.9, 2), random.uniform(0.15, 0.5)
        spot = np.exp(-(((AXIS[None, :] - x) / width) ** 2) - ((AXIS[:, None] - y) / (2 * width)) ** 2)
        return self.glare * random.uniform(0, 1) * spot[:, :, None]

    def _edge(self, shown: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return the picture with a dark edge on a random side, or as it is."""
        side, width = int(random.integers(4)), int(random.integers(3, 12))
        if random.random() < self.border:
            turned = np.rot90(shown, side)
            turned[:width] = random.uniform(8, 40)
        return shown


@dataclass(frozen=True)
class DrawnDomain:
    """A camera in a place, and the screen before it."""

    name: str
    camera: Camera
    screen: Screen


DOMAINS = (
    DrawnDomain(
        "office",
        Camera(1.0, (0.1, -0.15), (0.97, 1.0, 1.04), 4, 0.5),
        Screen((2.6, 5), 0.13, (0.86, 0.98, 1.16), 70, 0.3),
    ),
    DrawnDomain(
        "window",
        Camera(1.2, (0.4, 0.05), (0.92, 1.0, 1.1), 2, 0.35),
        Screen((4, 9), 0.1, (1.08, 0.98, 0.88), 110, 0.5),
    ),
    DrawnDomain(
        "evening",
        Camera(0.65, (-0.25, 0.2), (1.15, 1.0, 0.8), 8, 0.7),
        Screen((3, 7), 0.16, (0.88, 1.02, 1.14), 50, 0.4),
    ),
)


def draw_live(domain: DrawnDomain, seed: int, number: int, picture: int, live: bool) -> np.ndarray:
    """Return a live or replayed face, uint8 (112, 112, 3) RGB.

    Args:
        domain: of the picture.
        seed: of all draws.
        number: of the person.
        picture: of the person in this kind.
        live: a face before the camera, else one on the screen before it.
    """
    random = np.random.default_rng((seed, number, picture, int(live), 7))
    view = View.draw(seed, number, 2 * picture + int(live))
    scene = draw_face(Person.draw(seed, number), view).astype(np.float32)
    return domain.camera.photograph(scene if live else domain.screen.replay(scene, random), random)


def write_live_faces(out: Path, people: int, pictures: int, seed: int, progress: Progress | None = None) -> None:
    """Draw three domains into `<domain>/{live,spoof}/`, with other people in each.

    Args:
        out: parent of the domains' folders.
        people: in each domain.
        pictures: of each person and kind.
        seed: of all draws.
        progress: called with (pictures drawn, pictures in all).
    """
    total = len(DOMAINS) * people * pictures * len(KINDS)
    done = 0
    for index, domain in enumerate(DOMAINS):
        for live, kind in enumerate(KINDS):
            folder = out / domain.name / kind
            folder.mkdir(parents=True)
            for number in range(index * people, (index + 1) * people):
                for picture in range(pictures):
                    image = draw_live(domain, seed, number, picture, bool(live))
                    (folder / f"{number:06d}_{picture:03d}.jpg").write_bytes(encode_jpeg(image, QUALITY))
                done += pictures
                if progress is not None:
                    progress(done, total)
