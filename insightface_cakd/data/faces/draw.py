"""Draws a person in a view, as a simple 3D head."""

import cv2
import numpy as np
from numpy.typing import ArrayLike

from insightface_cakd.data.faces.person import Person, View

SIZE = 112
CANVAS = 2 * SIZE  # drawn at twice the size, against jagged edges
UNIT = 62.0  # half the face's width, in pixels of the canvas
CENTRE = np.array([CANVAS / 2, CANVAS * 0.53])
EYE_Y = -0.12  # in units of half the face's width, from its centre
ANGLES = np.linspace(0, 2 * np.pi, 40, endpoint=False)


class _Sketch:
    """A canvas drawn on in the head's own coordinates: x right, y down, z outward."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.canvas = np.zeros((CANVAS, CANVAS, 3), np.uint8)
        self.turn = _rotation(view.yaw, view.pitch, view.roll) * view.scale

    def fill(self, points: ArrayLike, colour: np.ndarray) -> None:
        cv2.fillPoly(self.canvas, [self._project(points)], _rgb(colour), cv2.LINE_AA, shift=4)

    def line(self, points: ArrayLike, colour: np.ndarray, width: float) -> None:
        """Draw a polyline; its width is in head units."""
        thickness = max(1, round(width * UNIT))
        cv2.polylines(self.canvas, [self._project(points)], False, _rgb(colour), thickness, cv2.LINE_AA, shift=4)

    def _project(self, points: ArrayLike) -> np.ndarray:
        """Return points (n, 3) as (n, 2), int32, in sixteenths of a pixel."""
        return np.round(self.place(points) * 16).astype(np.int32)

    def place(self, points: ArrayLike) -> np.ndarray:
        """Return points (n, 3) as pixels (n, 2) of the canvas."""
        return (np.asarray(points) @ self.turn.T)[:, :2] * UNIT + CENTRE + self.view.shift * 2


def draw_face(person: Person, view: View) -> np.ndarray:
    """Return a picture, uint8 (112, 112, 3), RGB."""
    sketch = _Sketch(view)
    _background(sketch)
    _head(sketch, person)
    _eyes(sketch, person)
    _nose(sketch, person)
    _mouth(sketch, person)
    _cover(sketch)
    return _photograph(sketch.canvas, view)


def face_points(person: Person, view: View) -> np.ndarray:
    """Return where eyes, nose and corners of the mouth are drawn.

    Eyes are the centres of the lids, wherever the irises look. Covered points count too.

    Returns:
        (5, 2), pixels of the picture, the eye and corner on the left of a frontal face first.
    """
    distance, width = _eye_distance(person), _mouth_width(person)
    corners_y = _mouth_height(person) - 0.16 * view.smile
    eyes = _surface(np.array([-distance, distance]), EYE_Y, 0.02)
    corners = _surface(np.array([-width, width]), corners_y, 0.05)
    canvas = _Sketch(view).place(np.concatenate([eyes, [_nose_tip(person)], corners]))
    return (canvas + 0.5) * SIZE / CANVAS - 0.5


def _eye_distance(person: Person) -> float:
    return float(0.42 + 0.07 * person.shape[3])


def _nose_length(person: Person) -> float:
    return float(0.34 + 0.08 * person.shape[10])


def _nose_tip(person: Person) -> tuple[float, float, float]:
    return 0, _nose_length(person) + 0.07, 1.12


def _mouth_width(person: Person) -> float:
    return float(0.32 + 0.07 * person.shape[12])


def _mouth_height(person: Person) -> float:
    return float(0.72 + 0.06 * person.shape[15])


def _ellipse(x: float, y: float, width: float, height: float, bulge: float = 0.0, slant: float = 0.0) -> np.ndarray:
    """Return the outline (n, 3) of an ellipse on the face, rotated by `slant` radians."""
    dx, dy = width * np.cos(ANGLES), height * np.sin(ANGLES)
    return _surface(x + dx * np.cos(slant) - dy * np.sin(slant), y + dx * np.sin(slant) + dy * np.cos(slant), bulge)


def _surface(x: ArrayLike, y: ArrayLike, bulge: float = 0.0) -> np.ndarray:
    """Return points (n, 3) on the rounded front of the head, `bulge` before it."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    depth = 0.75 * np.sqrt(np.clip(1 - 0.55 * x**2 - 0.25 * y**2, 0.05, None)) + bulge
    return _points(x, y, depth)


def _points(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> np.ndarray:
    return np.stack(np.broadcast_arrays(x, y, z), axis=1)


def _background(sketch: _Sketch) -> None:
    first, second = sketch.view.background
    ramp = np.linspace(0, 1, CANVAS)[:, None, None]
    sketch.canvas[:] = (first + (second - first) * ramp).astype(np.uint8)


def _head(sketch: _Sketch, person: Person) -> None:
    """Draw the hair behind, neck, ears, outline, hairline and moles."""
    shape, hair = person.shape, person.hair if sketch.view.dye is None else sketch.view.dye
    height, jaw, chin = 1.28 + 0.12 * shape[0], 0.78 + 0.14 * shape[1], 0.1 * shape[2]
    sketch.fill(_points(1.12 * np.cos(ANGLES), -0.25 + 1.25 * np.sin(ANGLES), -0.3), hair)
    sketch.fill([(-0.5, 0.6, -0.3), (0.5, 0.6, -0.3), (0.6, 2.2, -0.4), (-0.6, 2.2, -0.4)], person.skin * 0.8)
    ear = 0.2 + 0.06 * shape[17]
    for side in (-1, 1):
        outline = _points(side * (1.0 + 0.4 * ear * np.cos(ANGLES)), 0.05 + ear * 1.3 * np.sin(ANGLES), -0.1)
        sketch.fill(outline, person.skin * 0.9)
    low = np.clip(np.sin(ANGLES), 0, 1)
    x = np.cos(ANGLES) * (1 - (1 - jaw) * low**1.5)
    y = np.sin(ANGLES) * (height + chin * low**6)
    sketch.fill(_points(x, y, 0.15), person.skin)
    hairline = -0.72 + 0.14 * shape[16]
    top = np.linspace(-0.98, 0.98, 20)
    dome = np.sqrt(np.clip(1 - top**2, 0, 1))
    fringe = _points(top, hairline - 0.22 * dome + 0.35 * np.abs(top) ** 3, 0.35)
    crown = _points(top * 1.02, -1.38 * dome - 0.02, 0.1)
    sketch.fill(np.concatenate([fringe, crown[::-1]]), hair)
    for mole in person.moles:
        sketch.fill(_ellipse(mole[0], mole[1], mole[2], mole[2]), person.skin * 0.35)


def _eyes(sketch: _Sketch, person: Person) -> None:
    shape, view = person.shape, sketch.view
    distance, size = _eye_distance(person), 0.17 + 0.035 * shape[4]
    opening = size * (0.55 + 0.18 * shape[5]) * (1 - view.lids)
    brow_y = -0.42 - 0.07 * shape[7] - view.brows
    for side in (-1, 1):
        slant = side * 0.18 * shape[6]
        sketch.fill(_ellipse(side * distance, EYE_Y, size * 1.25, size * 0.95, 0.0, slant), person.skin * 0.82)
        sketch.fill(_ellipse(side * distance, EYE_Y, size, max(opening, 0.012), 0.02, slant), np.array([238, 236, 232]))
        iris = min(size * 0.55, opening * 1.05)
        at = side * distance + view.gaze[0] * size * 0.5, EYE_Y + view.gaze[1] * opening * 0.3
        sketch.fill(_ellipse(*at, iris, iris, 0.02), person.iris)
        sketch.fill(_ellipse(*at, iris * 0.45, iris * 0.45, 0.03), np.array([12, 12, 12]))
        across = np.linspace(-1, 1, 9)
        arch = brow_y + 0.07 * shape[9] * side * across + 0.05 * across**2
        brow = _surface(side * distance + across * (size + 0.1), arch, 0.05)
        sketch.line(brow, person.hair * 0.8, 0.05 + 0.028 * shape[8])


def _nose(sketch: _Sketch, person: Person) -> None:
    length, width = _nose_length(person), 0.16 + 0.045 * person.shape[11]
    left, right = (-width, length, 0.95), (width, length, 0.95)
    sketch.fill([(-0.06, -0.1, 0.8), (0.06, -0.1, 0.8), right, _nose_tip(person), left], person.skin * 0.93)
    sketch.line([left, (0, length + 0.08, 1.08), right], person.skin * 0.62, 0.035)
    for side in (-1, 1):
        nostril = (side * width * 0.6, length + 0.03, 0.98) + _ellipse(0, 0, 0.045, 0.025) * (1, 1, 0)
        sketch.fill(nostril, person.skin * 0.4)


def _mouth(sketch: _Sketch, person: Person) -> None:
    shape, view = person.shape, sketch.view
    width, y = _mouth_width(person), _mouth_height(person)
    upper, lower = 0.05 + 0.022 * shape[13], 0.07 + 0.028 * shape[14]
    lips = person.skin * (0.82, 0.55, 0.55)
    across = np.linspace(-1, 1, 15)
    curve = y - 0.16 * view.smile * across**2
    round_off = np.sqrt(np.clip(1 - across**2, 0, 1))
    top, bottom = curve - upper * round_off, curve + (lower + view.open_mouth) * round_off
    outline = [_surface(across * width, top, 0.04), _surface(across * width, bottom, 0.04)[::-1]]
    sketch.fill(np.concatenate(outline), lips)
    if view.open_mouth > 0.03:
        low = curve + view.open_mouth * round_off
        inner = [_surface(across * width * 0.85, curve, 0.05), _surface(across * width * 0.85, low, 0.05)[::-1]]
        sketch.fill(np.concatenate(inner), np.array([60, 20, 20]))
    else:
        sketch.line(_surface(across * width, curve, 0.05), lips * 0.5, 0.025)


def _cover(sketch: _Sketch) -> None:
    view = sketch.view
    random = np.random.default_rng((view.seed, 2))
    colour = random.uniform(10, 230, 3)
    if view.cover == "glasses":
        for side in (-1, 1):
            frame = _ellipse(side * 0.44, -0.1, 0.3, 0.22, 0.15)
            sketch.line(np.concatenate([frame, frame[:1]]), colour * 0.5, 0.05)
        sketch.line(_surface(np.array([-0.15, 0.15]), np.array([-0.12, -0.12]), 0.2), colour * 0.5, 0.05)
    elif view.cover == "mask":
        x = np.array([-0.85, 0, 0.85, 0.7, 0, -0.7])
        sketch.fill(_surface(x, np.array([0.25, 0.18, 0.25, 1.1, 1.35, 1.1]), 0.2), colour)
    elif view.cover == "hat":
        sketch.fill([(-1.15, -0.65, 0.3), (1.15, -0.65, 0.3), (1.0, -1.7, 0.0), (-1.0, -1.7, 0.0)], colour)
        sketch.fill([(-1.2, -0.55, 0.6), (1.2, -0.55, 0.6), (1.15, -0.75, 0.3), (-1.15, -0.75, 0.3)], colour * 0.8)
    elif view.cover == "patch":
        corner = random.uniform(0, CANVAS * 0.7, 2).astype(int)
        extent = random.uniform(CANVAS * 0.2, CANVAS * 0.4, 2).astype(int)
        sketch.canvas[corner[1] : corner[1] + extent[1], corner[0] : corner[0] + extent[0]] = colour


def _photograph(canvas: np.ndarray, view: View) -> np.ndarray:
    """Reduce to 112 pixels, light, tint, blur, lose detail, add noise."""
    picture: np.ndarray = cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    shade = view.light[2] + view.light[0] * axis[None, :, None] + view.light[1] * axis[:, None, None]
    picture *= np.clip(shade, 0.15, 1.6).astype(np.float32) * view.tint.astype(np.float32)
    if view.blur > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), view.blur)
    if view.detail < SIZE:
        small = cv2.resize(picture, (view.detail, view.detail), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    noise = np.random.default_rng(view.seed).standard_normal((SIZE, SIZE, 3), dtype=np.float32)
    return np.clip(picture + view.noise * noise + 0.5, 0, 255).astype(np.uint8)


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the rotation by yaw about y, pitch about x, then roll in the picture."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in (yaw, pitch, roll))
    about_y = np.array([(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)])
    about_x = np.array([(1, 0, 0), (0, cp, -sp), (0, sp, cp)])
    in_plane = np.array([(cr, -sr, 0), (sr, cr, 0), (0, 0, 1)])
    return in_plane @ about_x @ about_y


def _rgb(colour: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.clip(colour, 0, 255))
