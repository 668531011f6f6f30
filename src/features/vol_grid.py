"""Kernels of the vol grid: the price at each multiple of the step, and the squared return up to it."""

import math

import numpy as np

from features.jit import inlined
from features.spec import STALE_S
from features.symbol_state import MINUTE, NEVER, RING, SECOND, Record, SymbolState

# What the price of a grid point is.
UNKNOWN, TRADE, QUOTE = 0, 1, 2
_STALE = STALE_S * SECOND
_MASK = RING - 1


@inlined
def advance_grid(book: SymbolState, ts: int, step: int) -> None:
    """Carries the newest quote and trade forward to the grid points up to ``ts``, before ``ts`` itself is applied."""
    clock = book.clock[0]
    head = ts // step
    size = len(book.grid)
    for k in range(max(clock.point + 1, head - size + 1), head + 1):
        point = book.grid[k & (size - 1)]
        point.quote_ts, point.mid = clock.quote_ts, clock.mid
        point.trade_ts, point.trade = clock.trade_ts, clock.last
        _choose(point, k * step)
        point.r2 = _squared_return(book.grid[(k - 1) & (size - 1)], point)
        book.minute_rv[(k * step // MINUTE) & _MASK] += point.r2
    clock.point = head


@inlined
def put_price(book: SymbolState, ts: int, price: float, kind: int, step: int) -> None:
    """Sets a quote's mid or a trade's price from ``ts`` on, up to the point where a newer one applies."""
    head = book.clock[0].point
    size = len(book.grid)
    first = max(-(-ts // step), head - size + 2)
    k = first
    while k <= head:
        point = book.grid[k & (size - 1)]
        if kind == QUOTE:
            if point.quote_ts > ts:
                break
            point.quote_ts, point.mid = ts, price
        else:
            if point.trade_ts > ts:
                break
            point.trade_ts, point.trade = ts, price
        k += 1
    if k > first:
        _refresh(book, first, min(k, head), step)


@inlined
def _refresh(book: SymbolState, first: int, last: int, step: int) -> None:
    """Recomputes returns first..last and the sums of their minutes."""
    clock = book.clock[0]
    size = len(book.grid)
    for k in range(first, last + 1):
        point = book.grid[k & (size - 1)]
        _choose(point, k * step)
        point.r2 = _squared_return(book.grid[(k - 1) & (size - 1)], point)
    per = MINUTE // step
    for m in range(first // per, last // per + 1):
        total = 0.0
        for k in range(m * per, min((m + 1) * per, clock.point + 1)):
            total += book.grid[k & (size - 1)].r2
        book.minute_rv[m & _MASK] = total
        if m < clock.minute:
            clock.closed_minute = NEVER
    clock.vol_point = NEVER


@inlined
def _choose(point: Record, time: int) -> None:
    """The price of a point: the mid while a quote is known, else the last trade; none if too old."""
    if not np.isnan(point.mid) and time - point.quote_ts <= _STALE:
        point.price, point.kind = point.mid, QUOTE
    elif not np.isnan(point.trade) and time - point.trade_ts <= _STALE:
        point.price, point.kind = point.trade, TRADE
    else:
        point.price, point.kind = np.nan, UNKNOWN


@inlined
def _squared_return(before: Record, point: Record) -> float:
    """The squared return; 0 between a mid and a trade price, whose difference is half the spread, not a return."""
    if before.kind != point.kind or point.kind == UNKNOWN:
        return 0.0
    r = math.log1p((point.price - before.price) / before.price)  # exact difference: precise for the smallest returns
    return r * r
