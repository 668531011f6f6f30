"""The forecast targets, defined once for training and live scoring: bid and volatility one to five minutes ahead."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lakehouse.settings import HORIZONS_S

Array = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Target = Literal["bid", "vol"]
TARGETS: tuple[Target, ...] = ("bid", "vol")

MICROS = 1_000_000
FLOOR_300S = 1e-4
STALE_S = 5.0


def floors(horizons_s: Sequence[int] = HORIZONS_S) -> Array:
    """Smallest volatility of truth and forecast per horizon: 1 bp·√(h/300 s), or QLIKE measures the tick size."""
    return FLOOR_300S * np.sqrt(np.asarray(horizons_s, dtype=np.float64) / 300.0)


@dataclass(frozen=True)
class PricePath:
    """The known prices of one symbol, in time order; each holds until the next.

    Attributes:
        ts: microseconds since 1970, ascending, shape (n,).
        bid: best bid (last seller-initiated trade price where no quotes are known), shape (n,).
        price: mid, or last trade price where no quotes are known, shape (n,).
        quoted: whether the price is a mid, shape (n,).
    """

    ts: Times
    bid: Array
    price: Array
    quoted: Mask

    def part(self, index: npt.NDArray[np.int64] | slice) -> "PricePath":
        """Some of the prices."""
        return PricePath(self.ts[index], self.bid[index], self.price[index], self.quoted[index])

    def at(self, values: Array, when: Times) -> Array:
        """The value in force at each time; NaN before the first."""
        index = np.searchsorted(self.ts, when, side="right") - 1
        return np.where(index >= 0, values[np.maximum(index, 0)], np.nan)

    def before(self, values: Array, when: Times) -> Array:
        """The value in force just before each time; NaN before the first."""
        return self.at(values, when - 1)

    def age_s(self, when: Times) -> Array:
        """Seconds since the newest known price at each time; infinite before the first."""
        index = np.searchsorted(self.ts, when, side="right") - 1
        return np.where(index >= 0, (when - self.ts[np.maximum(index, 0)]) / MICROS, np.inf)


class RealisedVariance:
    """Sums of squared log returns of the price on the absolute grid k·step (last value at or before the grid time).

    The same definition as the features ``rv_*``: a grid return belongs to the window its end lies in, and a change
    between mid and trade price counts 0.
    """

    def __init__(self, path: PricePath, step_s: int) -> None:
        self._step = step_s * MICROS
        self._first = -(-int(path.ts[0]) // self._step)
        count = int(path.ts[-1]) // self._step - self._first + 1
        grid = (self._first + np.arange(max(count, 1), dtype=np.int64)) * self._step
        self.grid = grid
        squares = np.diff(np.log(path.at(path.price, grid)), prepend=np.nan) ** 2
        # Between a mid and a trade price lies half the spread, which is no return.
        changed = np.diff(path.at(path.quoted.astype(np.float64), grid), prepend=np.nan) != 0
        self._squares = np.where(changed & np.isfinite(squares), 0.0, squares)

    def between(self, start: Times, end: Times) -> Array:
        """Variance over (start, end] per pair; NaN where the span is not wholly inside the path.

        Sums each span by itself: no difference of long running sums, so a still market gives exactly 0.
        """
        first = start // self._step - self._first + 1
        last = end // self._step - self._first + 1
        known = (first >= 1) & (last <= len(self._squares)) & (last > first)
        lengths = np.where(known, last - first, 0)
        total = np.zeros(len(start))
        for offset in range(int(lengths.max(initial=0))):
            inside = offset < lengths
            total[inside] += self._squares[first[inside] + offset]
        return np.where(known, total, np.nan)


@dataclass(frozen=True)
class Truth:
    """What happened after each row, per horizon; NaN where it is not known.

    Attributes:
        bid: bid at t+h, quote currency, shape (rows, horizons).
        vol: √Σr² over (t, t+h], floored, dimensionless, same shape.
        age_s: seconds between the newest price and t+h, same shape.
    """

    bid: Array
    vol: Array
    age_s: Array


def silent(path: PricePath, when: Times, silence_s: float, horizon_s: int = HORIZONS_S[-1]) -> Mask:
    """Whether prices cease for longer than ``silence_s`` somewhere in (t, t + horizon]: what happened is not known."""
    long = np.flatnonzero(np.diff(path.ts) > silence_s * MICROS)
    # The first long silence that ends after t, if it begins before the horizon does.
    following = np.searchsorted(path.ts[long + 1], when, side="right")
    begins = np.append(path.ts[long], np.iinfo(np.int64).max)[following]
    return np.asarray(begins < when + horizon_s * MICROS)


def truth(path: PricePath, when: Times, step_s: int, horizons_s: Sequence[int] = HORIZONS_S) -> Truth:
    """The truth for rows as of ``when`` (microseconds), from prices known by t+h.

    A horizon whose end lies past the newest price is unknown (NaN): it is not yet due.
    """
    variance = RealisedVariance(path, step_s)
    bid, vol, age = [], [], []
    for horizon, floor in zip(horizons_s, floors(horizons_s), strict=True):
        end = when + horizon * MICROS
        due = end <= path.ts[-1]
        bid.append(np.where(due, path.at(path.bid, end), np.nan))
        rv = np.where(due, variance.between(when, end), np.nan)
        vol.append(np.maximum(np.sqrt(rv), floor))
        age.append(path.age_s(end))
    return Truth(np.column_stack(bid), np.column_stack(vol), np.column_stack(age))
