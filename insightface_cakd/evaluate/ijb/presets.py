"""The conventions of upstream's three scripts.

They differ in input scale, meaning of N, precision, and how TAR is read. The command line imports this module for its
help, so neither torch nor NumPy is imported here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Union

from insightface_cakd.errors import EvaluationError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Target = Literal["IJBB", "IJBC"]
PresetName = Literal["eval_ijbc", "onnx_ijbc", "ijb_evals"]
Protocol = Literal["auto", "11", "1N", "both"]

FARS = tuple(10**-exponent for exponent in range(6, 0, -1))
MODE = re.compile(r"N[01]D[01]F[01]")
Pixels = Union["Tensor", "np.ndarray"]
ALL_MODES = tuple(f"N{n}D{d}F{f}" for n in (1, 0) for d in (1, 0) for f in (1, 0))


@dataclass(frozen=True)
class Preset:
    """The conventions of one script.

    Args:
        pixels: how 0..255 becomes the network's input, a key of `PIXELS`.
        n1_normalises: whether the letter N1 scales embeddings to length 1; otherwise N0 does.
        default_mode: letters that the script uses when none are given.
        pooled_in: NumPy's name of the precision of the sums over images and media.
        percent: whether its table shows percent with two decimals, or else shares with six digits.
    """

    name: str
    pixels: str
    n1_normalises: bool
    default_mode: str
    pooled_in: str
    percent: bool

    def mode(self, letters: str) -> "Mode":
        """Return the meaning that this preset gives to letters such as N1D1F1."""
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
        normalised: whether embeddings are scaled to length 1, so that their norm is no weight.
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


# Convert float32 pixels 0..255 to a network's input in place, with each script's own operations, so that rounding is equal too.
PIXELS: dict[str, Callable[[Pixels], None]] = {
    "(x/255-0.5)/0.5": _by_255,
    "(x-127.5)/127.5": _by_127,
    "(x-127.5)/128": _by_128,
}
PRESETS: dict[str, Preset] = {
    "eval_ijbc": Preset("eval_ijbc", "(x/255-0.5)/0.5", False, "N1D1F1", "float32", percent=True),
    "onnx_ijbc": Preset("onnx_ijbc", "(x-127.5)/127.5", False, "N1D1F1", "float64", percent=True),
    "ijb_evals": Preset("ijb_evals", "(x-127.5)/128", True, "N0D1F1", "float32", percent=False),
}


def find_preset(name: str) -> Preset:
    """Return a preset by name."""
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise EvaluationError(
            f"preset {name}: unknown; expected {known}.{did_you_mean(name, PRESETS)} Correct --preset."
        )
    return PRESETS[name]


def choose_modes(preset: Preset, letters: str | None) -> list[Mode]:
    """Return modes: `all` eight, some separated by commas, or the preset's own."""
    if letters is None:
        return [preset.mode(preset.default_mode)]
    names = ALL_MODES if letters == "all" else [name.strip() for name in letters.split(",")]
    return [preset.mode(name) for name in names]
