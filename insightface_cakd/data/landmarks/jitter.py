"""Random rotation, scale, shift and black frame of an image with landmarks."""

from dataclasses import dataclass

import numpy as np

from insightface_cakd.errors import RecipeError


@dataclass(frozen=True)
class Jitter:
    """Turn, scale, move and frame an image by drawn amounts.

    Each amount is drawn evenly: the angle from -degrees to degrees, the factor from 1 - scale to 1 + scale, and each shift from -shift to
    shift, a share of the side. Half of the images get a black frame, each side of a width of its own from 0 to `frame` of the image's, as a
    crop has that reaches beyond the photo. Where a frame always comes from the same tight crops, its place tells where the face is, and a
    network learns that in place of the face.

    Raises:
        RecipeError: an amount is out of range.
    """

    degrees: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    frame: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("degrees", 180.0), ("scale", 0.9), ("shift", 0.9), ("frame", 0.4)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise RecipeError(f"{name} is {value!r}; expected a number from 0 to {most:g}. Correct it.")

    def matrix(self, size: tuple[int, int], side: int, random: np.random.Generator) -> np.ndarray:
        """Return the map (2, 3) to the pixels of the turned square.

        Without any amount it only resizes, as `cv2.resize` does.

        Args:
            size: width and height of the image.
            side: of the square that it becomes.
            random: four numbers are drawn from it.
        """
        angle, factor, right, down = random.uniform(-1, 1, 4) * (
            np.deg2rad(self.degrees),
            self.scale,
            self.shift * side,
            self.shift * side,
        )
        stretch = side / np.array(size, float)
        middle = (side - 1) / 2
        cosine, sine = (1 + factor) * np.cos(angle), (1 + factor) * np.sin(angle)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        # Resized first: x -> (x + 1/2) s - 1/2; then turned about the middle and moved.
        start = stretch / 2 - 0.5 - middle
        return np.column_stack([turn * stretch, turn @ start + middle + (right, down)])

    def framed(self, rgb: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return the image, half of the time with a black frame.

        Without `frame` nothing is drawn, and it is the image itself.

        Shape:
            rgb: (H, W, 3).
        """
        if self.frame == 0 or random.random() < 0.5:
            return rgb
        height, width = rgb.shape[:2]
        left, right, top, bottom = (random.random(4) * self.frame * (width, width, height, height)).astype(int)
        framed = np.zeros_like(rgb)
        inside = np.s_[top : height - bottom, left : width - right]
        framed[inside] = rgb[inside]
        return framed
