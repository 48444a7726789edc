"""The first random number of many items at once.

`numpy.random.default_rng((seed, epoch, index))` takes about as long to make as a fifth of an image to decode. Here the same hash (NumPy's
`SeedSequence`) and the same generator (PCG64, XSL-RR 128/64) run over all indices of a batch.

Source: numpy/random/bit_generator.pyx and numpy/random/src/pcg64/pcg64.h. NumPy keeps both streams (NEP 19).
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

_POOL = 4
_WORD = 32
# The hash into the pool, its mixing, the hash out of the pool.
_INIT_A, _MULT_A = 0x43B0D7E5, 0x931E8875
_MIX_LEFT, _MIX_RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
_INIT_B, _MULT_B = 0x8B51F9DD, 0x58F38DED
_SHIFT = np.uint32(16)
# The generator's multiplier of 128 bits.
_MULTIPLIER_HIGH, _MULTIPLIER_LOW = np.uint64(2549297995355413924), np.uint64(4865540595714422341)
_HALF, _LOW_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)
_ONE, _LAST = np.uint64(1), np.uint64(63)

# High and low 64 bits of numbers, uint64 (N,) each.
_Wide = tuple[np.ndarray, np.ndarray]


def first_below_half(key: Sequence[int], indices: np.ndarray) -> np.ndarray:
    """Return `default_rng((*key, index)).random() < 0.5` for each index.

    Shape:
        indices: (N,), integers. Result: (N,), bool.

    Args:
        key: whole numbers from 0.
        indices: from 0, below 2^32.
    """
    words = [word for number in key for word in _words(number)]
    entropy = np.zeros((max(_POOL, len(words) + 1), len(indices)), np.uint32)
    entropy[: len(words)] = np.array(words, np.uint32)[:, None]
    entropy[len(words)] = indices
    high, low, constant_high, constant_low = _hashed(entropy)
    constant = constant_high << _ONE | constant_low >> _LAST, constant_low << _ONE | _ONE
    # It moves once when it is seeded, and once for the number.
    high, low = _moved(_moved(_sum(constant, (high, low)), constant), constant)
    # The number is below one half where its first bit is 0: the bit of `high ^ low` that the output turns to the front.
    return (high ^ low) >> ((high >> np.uint64(58)) + _LAST & _LAST) & _ONE == 0


def _words(number: int) -> list[int]:
    """Return a number's words of 32 bits, the lowest first; 0 has one."""
    count = max(1, -(-number.bit_length() // _WORD))
    return [number >> _WORD * place & 0xFFFFFFFF for place in range(count)]


def _hashed(entropy: np.ndarray) -> np.ndarray:
    """Return what seeds the generator, uint64 (4, N), for entropy uint32 (W, N)."""
    hash_in = _constants(_INIT_A, _MULT_A, _POOL * len(entropy) + 1)
    pool = _scrambled(entropy[:_POOL], hash_in[: _POOL + 1])
    used = _POOL
    for source in range(_POOL):
        others = [place for place in range(_POOL) if place != source]
        pool[others] = _mixed(pool[others], _scrambled(pool[source], hash_in[used : used + _POOL]))
        used += _POOL - 1
    for extra in entropy[_POOL:]:
        pool = _mixed(pool, _scrambled(extra, hash_in[used : used + _POOL + 1]))
        used += _POOL
    out = _scrambled(np.concatenate((pool, pool)), _constants(_INIT_B, _MULT_B, 2 * _POOL + 1)).astype(np.uint64)
    return out[::2] | out[1::2] << _HALF


@cache
def _constants(first: int, factor: int, count: int) -> np.ndarray:
    """Return a hash's constants one after the other, uint32 (count, 1)."""
    return np.array([first * pow(factor, place, 1 << _WORD) % (1 << _WORD) for place in range(count)], np.uint32)[
        :, None
    ]


def _scrambled(values: np.ndarray, constants: np.ndarray) -> np.ndarray:
    """Hash values (C, N) or (N,) with C + 1 constants; return (C, N)."""
    values = (values ^ constants[:-1]) * constants[1:]
    return values ^ values >> _SHIFT


def _mixed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    mixed = _MIX_LEFT * first - _MIX_RIGHT * second
    return mixed ^ mixed >> _SHIFT


def _moved(state: _Wide, constant: _Wide) -> _Wide:
    """Return the generator's next state, state * multiplier + constant."""
    high, low = state
    carried, product = _product(low)
    return _sum((carried + high * _MULTIPLIER_LOW + low * _MULTIPLIER_HIGH, product), constant)


def _product(low: np.ndarray) -> _Wide:
    """Return low * the multiplier's low half, in 128 bits, by halves of 32."""
    a, b = low >> _HALF, low & _LOW_HALF
    c, d = _MULTIPLIER_LOW >> _HALF, _MULTIPLIER_LOW & _LOW_HALF
    middle = a * d + (b * d >> _HALF)
    other = b * c + (middle & _LOW_HALF)
    return a * c + (middle >> _HALF) + (other >> _HALF), low * _MULTIPLIER_LOW


def _sum(first: _Wide, second: _Wide) -> _Wide:
    low = first[1] + second[1]
    return first[0] + second[0] + (low < second[1]), low
