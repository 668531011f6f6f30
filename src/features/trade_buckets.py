"""Kernels that add trades to buckets of a second and a minute and to the pool of raw trades, and drop old ones."""

import numpy as np

from features.jit import inlined
from features.symbol_state import NEVER, RING, SECOND, Record, SymbolState

_MASK = RING - 1


@inlined
def put_trade(book: SymbolState, ts: int, price: float, qty: float, sign: int) -> None:
    """Adds a trade to its second and its minute, late or not; ignores trades older than the rings."""
    clock = book.clock[0]
    second = ts // SECOND
    minute = second // 60
    if second > clock.second - RING:
        tile = book.seconds[second & _MASK]
        _add(tile, ts, price, qty, sign)
        index = clock.free
        raw = book.raw[index]
        clock.free = raw.next
        clock.free_count -= 1
        raw.ts, raw.price, raw.qty, raw.sign, raw.next = ts, price, qty, sign, tile.head
        tile.head = index
    if minute > clock.minute - RING:
        _add(book.minutes[minute & _MASK], ts, price, qty, sign)
        if minute < clock.minute:
            clock.closed_minute = NEVER


@inlined
def _add(tile: Record, ts: int, price: float, qty: float, sign: int) -> None:
    """Welford's update; of trades with equal times the later arrival sets the close."""
    tile.n += 1.0
    delta = price - tile.mean
    tile.mean += delta / tile.n
    tile.m2 += delta * (price - tile.mean)
    tile.low = min(tile.low, price)
    tile.high = max(tile.high, price)
    tile.volume += qty
    tile.notional += price * qty
    if sign > 0:
        tile.buy += qty
    elif sign < 0:
        tile.sell += qty
    if ts >= tile.close_ts:
        tile.close = price
        tile.close_ts = ts


@inlined
def advance_tiles(book: SymbolState, ts: int) -> None:
    """Makes room for the seconds and minutes up to ``ts``."""
    clock = book.clock[0]
    second = ts // SECOND
    minute = second // 60
    for s in range(max(clock.second + 1, second - RING + 1), second + 1):
        tile = book.seconds[s & _MASK]
        if tile.n > 0.0:
            _release(book, tile.head)
            _clear(tile)
    for m in range(max(clock.minute + 1, minute - RING + 1), minute + 1):
        _clear(book.minutes[m & _MASK])
        book.minute_rv[m & _MASK] = 0.0
    clock.second = second
    clock.minute = minute


@inlined
def _release(book: SymbolState, head: int) -> None:
    """Gives a chain of raw trades back to the pool."""
    clock = book.clock[0]
    count, last = 1, head
    while book.raw[last].next >= 0:
        last = book.raw[last].next
        count += 1
    book.raw[last].next = clock.free
    clock.free = head
    clock.free_count += count


@inlined
def _clear(tile: Record) -> None:
    tile.n = tile.mean = tile.m2 = tile.volume = tile.notional = tile.buy = tile.sell = 0.0
    tile.low, tile.high = np.inf, -np.inf
    tile.close_ts, tile.head = NEVER, -1
