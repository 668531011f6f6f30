"""Kernels that turn the vol grid into features: realised variances, EMAs, EWMAs, and yesterday's same five minutes."""

import numpy as np

from features.jit import inlined
from features.spec import HALF_LIVES_MIN, LONG_STATS, LONG_WINDOWS, STALE_S, WINDOW_STATS, WINDOWS, positions
from features.symbol_state import CLOSED_SUMS, DAY, DAY_MINUTES, MINUTE, NEVER, RING, SECOND, SymbolState
from lakehouse.arrays import Floats

_MASK = RING - 1
_STALE = STALE_S * SECOND
_SPANS = tuple(w * SECOND for w in WINDOWS.values())
_LONG = tuple(w // 60 for w in LONG_WINDOWS.values())
_WIDTH, _LONG_WIDTH = len(WINDOW_STATS), len(LONG_STATS)
# Of the first window and half-life.
_RV, _EMA, _RV_LONG, _EWMA, _TOD = positions("rv_10s", "ema_10s", "rv_4h", f"ewma_rv_{HALF_LIVES_MIN[0]}m", "rv_tod")
_W, _L, _H = len(_SPANS), len(_LONG), len(HALF_LIVES_MIN)
# Where things stand in `SymbolState.closed` (after the trade sums) and in `SymbolState.vol`.
_CLOSED_RV = CLOSED_SUMS * _L
_CLOSED_NUM, _CLOSED_DEN = _CLOSED_RV + _L, _CLOSED_RV + _L + _H
_VOL_EMA, _VOL_LONG, _VOL_EWMA, _VOL_TOD = _W, 2 * _W, 2 * _W + _L, 2 * _W + _L + _H


@inlined
def price_since(book: SymbolState, t: int) -> int:
    """Since when a price is known without a break: the earlier start of the two streams; -NEVER if neither runs."""
    clock = book.clock[0]
    trade = clock.trade_since if t - clock.trade_ts <= _STALE else -NEVER
    quote = clock.quote_since if t - clock.quote_seen <= _STALE else -NEVER
    return min(trade, quote)


@inlined
def _known(first: int, minute: int, per: int) -> int:
    """The number of a minute's returns that are known when the first known one is ``first``."""
    return min(max((minute + 1) * per - first, 0), per)


@inlined
def _minute_rv(book: SymbolState, minute: int, first: int, per: int) -> float:
    """Squared returns of a minute from the grid point ``first`` on."""
    if _known(first, minute, per) == per:
        return float(book.minute_rv[minute & _MASK])
    total = 0.0
    for k in range(max(first, minute * per), (minute + 1) * per):
        total += book.grid[k & (len(book.grid) - 1)].r2
    return total


@inlined
def close_variance(book: SymbolState, minute: int, since: int, step: int) -> None:
    """Sums variance over the closed minutes of the long windows and of each half-life."""
    closed = book.closed
    closed[_CLOSED_RV:] = 0.0
    per = MINUTE // step
    first = -(-since // step) + 1
    total = 0.0
    for age in range(1, DAY_MINUTES):
        for w in range(_L):
            if age == _LONG[w]:
                closed[_CLOSED_RV + w] = total
        known = _known(first, minute - age, per)
        if known == 0:
            continue
        rv = _minute_rv(book, minute - age, first, per)
        total += rv
        for h in range(_H):
            closed[_CLOSED_NUM + h] += book.ewma_weights[age, h] * rv
            closed[_CLOSED_DEN + h] += book.ewma_weights[age, h] * known
    closed[_CLOSED_RV + _L - 1] = total


@inlined
def measure(book: SymbolState, since: int, step: int) -> None:
    """Computes every feature of the grid as of its newest point into ``book.vol``."""
    book.vol[:] = np.nan
    _measure_windows(book, since, step)
    vol, closed, head = book.vol, book.closed, book.clock[0].point
    per = MINUTE // step
    minute = head // per
    running = book.minute_rv[minute & _MASK]
    for w in range(_L):
        if since <= (minute - _LONG[w] + 1) * MINUTE - step:
            vol[_VOL_LONG + w] = closed[_CLOSED_RV + w] + running
    first = -(-since // step) + 1
    known = max(head + 1 - max(first, minute * per), 0)
    fresh = 0.0
    for k in range(head + 1 - known, head + 1):
        fresh += book.grid[k & (len(book.grid) - 1)].r2
    for h in range(_H):
        weight = closed[_CLOSED_DEN + h] + known
        if weight > 0.0:
            vol[_VOL_EWMA + h] = (closed[_CLOSED_NUM + h] + fresh) / weight * per
    oldest = head - DAY // step + 1
    if since <= (oldest - 1) * step:
        total = 0.0
        for k in range(oldest, oldest + 5 * per):
            total += book.grid[k & (len(book.grid) - 1)].r2
        vol[_VOL_TOD] = total / 5.0


@inlined
def _measure_windows(book: SymbolState, since: int, step: int) -> None:
    """Realised variance and EMA of the price over each window that is a whole number of steps."""
    grid, head, mask = book.grid, book.clock[0].point, len(book.grid) - 1
    total, age = 0.0, 0
    for w in range(_W):
        points = _SPANS[w] // step
        if points * step != _SPANS[w] or since > (head - points) * step:
            continue
        while age < points:
            total += grid[(head - age) & mask].r2
            age += 1
        weighted = weights = 0.0
        for j in range(points):
            point = grid[(head - j) & mask]
            if point.kind > 0:
                weighted += book.ema_weights[w, j] * point.price
                weights += book.ema_weights[w, j]
        book.vol[w] = total
        if weights > 0.0:
            book.vol[_VOL_EMA + w] = weighted / weights


@inlined
def write_variance(book: SymbolState, out: Floats) -> None:
    """Copies what `measure` found to its places in the row."""
    vol = book.vol
    for w in range(_W):
        out[_RV + w * _WIDTH] = vol[w]
        out[_EMA + w * _WIDTH] = vol[_VOL_EMA + w]
    for w in range(_L):
        out[_RV_LONG + w * _LONG_WIDTH] = vol[_VOL_LONG + w]
    for h in range(_H):
        out[_EWMA + h] = vol[_VOL_EWMA + h]
    out[_TOD] = vol[_VOL_TOD]
