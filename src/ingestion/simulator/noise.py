"""Stateless random numbers: each is a hash of (key, index), so any part of a random process can be computed alone.

The hash is SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014), applied
twice. It is implemented here rather than taken from numpy, whose upgrades could change the market.
"""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from lakehouse.arrays import Floats, Ints

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key_of(*parts: object) -> int:
    """A 64-bit key from anything that prints the same every time."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def bits(key: int, index: Ints) -> NDArray[np.uint64]:
    """64 random bits for each index."""
    return _mix(_mix(index.astype(np.uint64) * _GOLDEN + np.uint64(key)) ^ np.uint64(key))


def uniform(key: int, index: Ints) -> Floats:
    """Uniform on the open interval (0, 1), one number per index."""
    return (bits(key, index) >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54


def normal(key: int, index: Ints) -> Floats:
    """Standard normal, one number per index (Box-Muller, the cosine half)."""
    radius = np.sqrt(-2.0 * np.log(uniform(key, index)))
    return radius * np.cos(2.0 * np.pi * uniform(key ^ 0x5DEECE66D, index))


def smooth(key: int, times: Floats, period: float) -> Floats:
    """A stationary standard normal process: independent values every ``period``, blended in between to variance 1."""
    position = times / period
    left = np.floor(position)
    f = position - left
    index = left.astype(np.int64)
    return ((1.0 - f) * normal(key, index) + f * normal(key, index + 1)) / np.sqrt((1.0 - f) ** 2 + f**2)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
