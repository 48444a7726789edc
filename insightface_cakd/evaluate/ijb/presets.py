"""Upstream's three scripts as conventions: input scale, what N means, precision, and how TAR is read."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from insightface_cakd.errors import EvaluationError, did_you_mean

FARS = tuple(10**-exponent for exponent in range(6, 0, -1))
MODE = re.compile(r"N[01]D[01]F[01]")
Pixels = Tensor | np.ndarray
ALL_MODES = tuple(f"N{n}D{d}F{f}" for n in (1, 0) for d in (1, 0) for f in (1, 0))


@dataclass(frozen=True)
class Preset:
    """The conventions of one script.

    Args:
        name: of the script.
        pixels: how 0..255 becomes the network's input, see `PIXELS`.
        n1_normalises: whether the letter N1 brings embeddings to length 1; otherwise N0 does.
        default_mode: letters that the script uses when none are given.
        pooled_in: precision of the sums over images and media.
        percent: whether its table has percent with two decimals, or shares with six digits.
    """

    name: str
    pixels: str
    n1_normalises: bool
    default_mode: str
    pooled_in: type
    percent: bool

    def mode(self, letters: str) -> "Mode":
        """Return what letters such as N1D1F1 mean here.

        Raises:
            EvaluationError: they are no such letters.
        """
        if not MODE.fullmatch(letters):
            raise EvaluationError(
                f"mode {letters}: expected N, D and F with 0 or 1 each, such as {self.default_mode}, or all. Correct --mode."
            )
        n, d, f = (letter == "1" for letter in letters[1::2])
        return Mode(letters, normalised=n == self.n1_normalises, detector=d, flip=f)


@dataclass(frozen=True)
class Mode:
    """How image embeddings enter a template.

    Args:
        letters: as the preset writes it.
        normalised: brought to length 1, so that the embedding's norm is no weight.
        detector: multiplied by the detector's score.
        flip: that of the mirrored image is added first.
    """

    letters: str
    normalised: bool
    detector: bool
    flip: bool

    @property
    def meaning(self) -> str:
        """Return the mode in words."""
        norm = "norm removed" if self.normalised else "norm kept"
        weight = "weighted by detector score" if self.detector else "not weighted"
        return f"{norm}, {weight}, {'with' if self.flip else 'without'} mirror image"


def _by_255(pixels: Pixels) -> None:
    pixels /= 255
    pixels -= 0.5
    pixels /= 0.5


def _by_127(pixels: Pixels) -> None:
    pixels -= 127.5
    pixels /= 127.5


def _by_128(pixels: Pixels) -> None:
    pixels -= 127.5
    pixels *= 0.0078125


# A network's input from float32 pixels 0..255, in place, with each script's own operations, so that even rounding is the same.
PIXELS: dict[str, Callable[[Pixels], None]] = {
    "(x/255-0.5)/0.5": _by_255,
    "(x-127.5)/127.5": _by_127,
    "(x-127.5)/128": _by_128,
}
PRESETS: dict[str, Preset] = {
    "eval_ijbc": Preset("eval_ijbc", "(x/255-0.5)/0.5", False, "N1D1F1", np.float32, percent=True),
    "onnx_ijbc": Preset("onnx_ijbc", "(x-127.5)/127.5", False, "N1D1F1", np.float64, percent=True),
    "ijb_evals": Preset("ijb_evals", "(x-127.5)/128", True, "N0D1F1", np.float32, percent=False),
}


def find_preset(name: str) -> Preset:
    """Return a preset by name.

    Raises:
        EvaluationError: there is none.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise EvaluationError(
            f"preset {name}: unknown; expected {known}.{did_you_mean(name, PRESETS)} Correct --preset."
        )
    return PRESETS[name]


def choose_modes(preset: Preset, letters: str | None) -> list[Mode]:
    """Return the modes asked for: the preset's own one, all eight for `all`, or those named, separated by commas."""
    if letters is None:
        return [preset.mode(preset.default_mode)]
    names = ALL_MODES if letters == "all" else [name.strip() for name in letters.split(",")]
    return [preset.mode(name) for name in names]


def both_views(images: np.ndarray, pixels: str, device: torch.device) -> Tensor:
    """Return (2B, 3, H, W) float32 network input: the images, then their mirror images.

    Args:
        images: uint8 (B, H, W, 3) RGB.
        pixels: key of `PIXELS`.
        device: where they go.
    """
    if device.type == "cpu":
        return torch.from_numpy(_both_views_on_cpu(images, PIXELS[pixels]))
    # Turned while they are bytes, which is four times less to move.
    plain = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).contiguous()
    both = torch.cat([plain, plain.flip(-1)]).float()
    PIXELS[pixels](both)
    return both


def _both_views_on_cpu(images: np.ndarray, scale: Callable[[Pixels], None]) -> np.ndarray:
    """Go face by face, each of which stays in the cache, on one thread: PyTorch's would wait for those that decode."""
    count, height, width, channels = images.shape
    both = np.empty((2 * count, channels, height, width), np.float32)
    for image, plain, mirrored in zip(images, both[:count], both[count:], strict=True):
        plain[...] = image.transpose(2, 0, 1)
        scale(plain)
        mirrored[...] = plain[..., ::-1]
    return both
