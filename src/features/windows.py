"""Kernels that read a row's trade windows off the tiles: exactly the trades in (t - W, t], by merges alone.

A window is its whole minutes, the whole seconds of the minute its old edge falls into, and the raw trades of the
second the edge falls into. Nothing is ever subtracted from a running sum. Variances are taken about the last price,
which lies in the window itself: with n trades the variance is at least (last - mean)^2 / n, so little can cancel, and
equal prices give exactly 0.
"""

import math

import numpy as np

from features.jit import inlined
from features.spec import LONG_STATS, LONG_WINDOWS, STALE_S, WINDOW_STATS, WINDOWS, positions
from features.symbol_state import CLOSED_SUMS, MINUTE, NEVER, RING, SECOND, Record, SymbolState
from lakehouse.arrays import Floats

_MASK = RING - 1
_STALE = STALE_S * SECOND
_SPANS = tuple(w * SECOND for w in WINDOWS.values())
_WIDTH = len(WINDOW_STATS)
# Among the statistics of a window, which stand together in a row, one window after the other.
_STEMS = [stem for stem, _, _ in WINDOW_STATS]
_TRADES, _VOLUME, _SIGNED, _VWAP, _RET = map(_STEMS.index, ("trades", "volume", "signed_volume", "vwap", "ret"))
_RANGE, _MEAN, _STD, _MIN, _MAX = map(_STEMS.index, ("range_bps", "mean", "std", "min", "max"))
_MOMENTUM = _STEMS.index("momentum")
_LONG = tuple(w // 60 for w in LONG_WINDOWS.values())
_LONG_WIDTH = len(LONG_STATS)
_LONG_TRADES, _LONG_VOLUME, _LONG_SIGNED, _LONG_RET = positions("trades_4h", "volume_4h", "signed_volume_4h", "ret_4h")

# n, sum(price - c), sum((price - c)^2), min, max, volume, notional, buy, sell
Sums = tuple[float, float, float, float, float, float, float, float, float]
_NOTHING = (0.0, 0.0, 0.0, np.inf, -np.inf, 0.0, 0.0, 0.0, 0.0)


@inlined
def write_windows(book: SymbolState, t: int, step: int, out: Floats) -> None:
    """Fills the trade statistics of each window of `WINDOWS`; those that reach back too far stay NaN."""
    clock = book.clock[0]
    if t - clock.trade_ts > _STALE:
        return
    center = clock.last
    minute = t // MINUTE
    whole = _NOTHING
    for w in range(len(_SPANS)):
        edge = t - _SPANS[w]
        if clock.trade_since > edge:
            return
        second = edge // SECOND
        while minute > second // 60:
            whole = _with_tile(whole, book.minutes[minute & _MASK], center)
            minute -= 1
        sums = whole
        for s in range(second + 1, min(clock.second, second // 60 * 60 + 59) + 1):
            sums = _with_tile(sums, book.seconds[s & _MASK], center)
        sums = _with_raw(sums, book, book.seconds[second & _MASK].head, edge, center)
        _write(sums, center, price_at(book, edge, step), out[w * _WIDTH : (w + 1) * _WIDTH])


@inlined
def _with_tile(sums: Sums, tile: Record, center: float) -> Sums:
    delta = tile.mean - center
    first = tile.n * delta
    n, s1, s2, low, high, volume, notional, buy, sell = sums
    return (
        n + tile.n,
        s1 + first,
        s2 + (tile.m2 + first * delta),
        min(low, tile.low),
        max(high, tile.high),
        volume + tile.volume,
        notional + tile.notional,
        buy + tile.buy,
        sell + tile.sell,
    )


@inlined
def _with_raw(sums: Sums, book: SymbolState, head: int, edge: int, center: float) -> Sums:
    """Adds the trades of one second that lie behind the edge."""
    raw = book.raw
    n, s1, s2, low, high, volume, notional, buy, sell = sums
    while head >= 0:
        trade = raw[head]
        if trade.ts > edge:
            delta = trade.price - center
            n, s1, s2 = n + 1.0, s1 + delta, s2 + delta * delta
            low, high = min(low, trade.price), max(high, trade.price)
            volume, notional = volume + trade.qty, notional + trade.price * trade.qty
            buy += trade.qty if trade.sign > 0 else 0.0
            sell += trade.qty if trade.sign < 0 else 0.0
        head = trade.next
    return n, s1, s2, low, high, volume, notional, buy, sell


@inlined
def price_at(book: SymbolState, time: int, step: int) -> float:
    """Price of the last trade at or before ``time``, which lies within the ring of seconds."""
    second = time // SECOND
    head = book.seconds[second & _MASK].head
    best, price = NEVER, np.nan
    while head >= 0:
        trade = book.raw[head]
        if best < trade.ts <= time:  # the chain goes from new to old arrivals: of equal times the latest counts
            best, price = trade.ts, trade.price
        head = trade.next
    if best > NEVER:
        return price
    k = second * SECOND // step
    for s in range(second - 1, k * step // SECOND - 1, -1):
        if book.seconds[s & _MASK].n > 0.0:
            return float(book.seconds[s & _MASK].close)
    return float(book.grid[k & (len(book.grid) - 1)].trade)


@inlined
def _write(sums: Sums, last: float, before: float, out: Floats) -> None:
    n, s1, s2, low, high, volume, notional, buy, sell = sums
    out[_TRADES], out[_VOLUME], out[_SIGNED] = n, volume, buy - sell
    out[_RET] = math.log1p((last - before) / before)
    if volume > 0.0:
        out[_VWAP] = notional / volume
    if n > 0.0:
        shift = s1 / n
        mean = last + shift
        out[_MEAN], out[_MIN], out[_MAX] = mean, low, high
        out[_STD] = math.sqrt(max(s2 / n - shift * shift, 0.0))
        out[_RANGE] = 1e4 * (high - low) / last
        out[_MOMENTUM] = -1e4 * shift / mean


@inlined
def close_trades(book: SymbolState, minute: int) -> None:
    """Sums trades over the closed minutes of each long window, for rows of the running ``minute``."""
    closed = book.closed
    n = volume = buy = sell = 0.0
    age = 1
    for w in range(len(_LONG)):
        while age < _LONG[w]:
            tile = book.minutes[(minute - age) & _MASK]
            n += tile.n
            volume += tile.volume
            buy += tile.buy
            sell += tile.sell
            age += 1
        at = CLOSED_SUMS * w
        closed[at], closed[at + 1], closed[at + 2], closed[at + 3] = n, volume, buy, sell


@inlined
def write_long(book: SymbolState, t: int, step: int, out: Floats) -> None:
    """Fills the trade statistics of `LONG_WINDOWS`: the closed minutes of `close_trades` and the running one."""
    clock = book.clock[0]
    minute = t // MINUTE
    tile = book.minutes[minute & _MASK]
    for w in range(len(_LONG)):
        if t - clock.trade_ts > _STALE or clock.trade_since > t - _LONG[w] * MINUTE:
            return
        n, volume, buy, sell = book.closed[CLOSED_SUMS * w : CLOSED_SUMS * (w + 1)]
        at = w * _LONG_WIDTH
        out[at + _LONG_TRADES] = n + tile.n
        out[at + _LONG_VOLUME] = volume + tile.volume
        out[at + _LONG_SIGNED] = (buy + tile.buy) - (sell + tile.sell)
        k = (minute - _LONG[w] + 1) * MINUTE // step
        before = book.grid[k & (len(book.grid) - 1)].trade
        out[at + _LONG_RET] = math.log1p((clock.last - before) / before)
