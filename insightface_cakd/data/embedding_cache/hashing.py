"""A 64-bit hash of an image's pixels, computed on the image's device."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

# The constants of splitmix64, written as signed integers.
GOLDEN, FIRST, SECOND = (value - (1 << 64) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
# Float16 images in [-1, 1] are off by up to 0.03 levels; an altered image is off by up to 0.5 somewhere.
ALTERED = 0.05


def image_hash(images: Tensor, seed: int = 0) -> Tensor:
    """Return a 64-bit hash of each image's 8-bit pixels.

    It is the same on every device and in every memory layout. The pixels are read as little-endian 64-bit words w_i in
    channel, row, column order, the last word padded with zeros. Then, with i from 1 and all arithmetic modulo 2^64,

        hash = mix(sum over i of mix(w_i ^ mix(GOLDEN * (i + seed * 2^32)))).

    Shape:
        images: (B, 3, H, W); uint8, or floats in [-1, 1], rounded to the nearest of the 256 levels. Hashes: (B,),
            int64.

    Source:
        mix is the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014), GOLDEN its increment.
    """
    pixels = images if images.dtype == torch.uint8 else _levels(images).round().clamp(0, 255).to(torch.uint8)
    pixels = pixels.contiguous().flatten(1)  # (B, 3HW)
    words = pad(pixels, (0, -pixels.shape[1] % 8)).view(torch.int64)  # (B, 3HW / 8)
    mixed = _mix(words ^ _positions(words.shape[1], seed, words.device))  # (B, 3HW / 8)
    return _mix(mixed.sum(dim=1))  # (B,)


def looks_altered(images: Tensor) -> bool:
    """Return whether images in [-1, 1] were resized or jittered after decoding."""
    values = _levels(images)
    return bool(((values - values.round()).abs() > ALTERED).any())


def _levels(images: Tensor) -> Tensor:
    """Return images in [-1, 1] on the scale of 8-bit pixels, float32, not rounded."""
    return images.float() * 127.5 + 127.5


@lru_cache(maxsize=8)
def _positions(count: int, seed: int, device: torch.device) -> Tensor:
    """Return a fixed pseudorandom word for each of `count` positions."""
    start = (seed << 32) + 1
    return _mix(torch.arange(start, start + count, device=device) * GOLDEN)


def _mix(words: Tensor) -> Tensor:
    """Spread every bit of a word over all bits of the word."""
    words = (words ^ _shift(words, 30)) * FIRST
    words = (words ^ _shift(words, 27)) * SECOND
    return words ^ _shift(words, 31)


def _shift(words: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros; torch's own shift copies the sign."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)
