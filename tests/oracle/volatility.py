"""Realised volatility again, in plain numpy over whole columns: the definition that features and vol target share.

Prices are sampled on the absolute grid k * step (seconds since 1970). The price of a grid point is the mid of the last
quote at or before it while a quote is known, else the price of the last trade at or before it; a value older than
`STALE_S` is not known any more. r_k is the log return from point k - 1 to point k; where either is unknown, or one is a
mid and the other a trade price, it is 0: half a spread is no return. The realised variance of a span (a, b] is the sum
of r_k^2 over the grid points in it, so adjacent spans add up and a feature's window and a target's horizon count alike.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.spec import STALE_S
from lakehouse.arrays import Floats, Ints

UNKNOWN, TRADE, QUOTE = 0, 1, 2


class Grid(NamedTuple):
    """Prices on the grid points first, first + 1, …; ``kind`` says what each price is."""

    first: int
    price: Floats
    kind: NDArray[np.int8]


def sample(times: Ints, values: Floats, points: Ints) -> Floats:
    """The last value at or before each point; NaN where there is none or it is stale.

    Args:
        times: microseconds since 1970, ascending; of equal times the last counts.
        values: what holds from each time on; NaN voids what held before.
        points: microseconds since 1970.
    """
    if len(times) == 0:
        return np.full(len(points), np.nan)
    at = np.searchsorted(times, points, side="right") - 1
    found = np.where(at >= 0, values[at], np.nan)
    return np.where(points - times[at] <= STALE_S * 1_000_000, found, np.nan)


def price_grid(trades: tuple[Ints, Floats], quotes: tuple[Ints, Floats], first: int, last: int, step_s: int) -> Grid:
    """Prices on the grid points first..last, from (times, prices) of trades and (times, mids) of quotes."""
    points = np.arange(first, last + 1, dtype=np.int64) * (step_s * 1_000_000)
    mid, trade = sample(*quotes, points), sample(*trades, points)
    price = np.where(np.isnan(mid), trade, mid)
    kind = np.where(~np.isnan(mid), QUOTE, np.where(~np.isnan(trade), TRADE, UNKNOWN)).astype(np.int8)
    return Grid(first, price, kind)


def squared_returns(grid: Grid) -> Floats:
    """r_k^2 of each point but the first, which has none (NaN)."""
    r2 = np.zeros(len(grid.price))
    same = (grid.kind[1:] == grid.kind[:-1]) & (grid.kind[1:] != UNKNOWN)
    before, after = grid.price[:-1][same], grid.price[1:][same]
    r2[1:][same] = np.log1p((after - before) / before) ** 2
    r2[:1] = np.nan
    return r2


def span(start: int, end: int, step_s: int) -> tuple[int, int]:
    """First and last grid point in (start, end], times in microseconds; empty when first > last."""
    step = step_s * 1_000_000
    return start // step + 1, end // step


def realised_variance(r2: Floats, first: int, start: int, end: int, step_s: int) -> float:
    """Sum of r_k^2 over (start, end]; ``r2[0]`` belongs to the grid point ``first``; NaN if any is not known."""
    a, b = span(start, end, step_s)
    if a < first or b >= first + len(r2) or a > b:
        return float("nan")
    return float(np.sum(r2[a - first : b - first + 1]))
