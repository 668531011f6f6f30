"""Kernels that track a symbol's missing trade ids and decide whether a row is complete."""

from features.jit import inlined
from features.spec import COMPLETE_S, FRESH_QUOTE_S, STALE_S
from features.symbol_state import NEVER, SECOND, SymbolState

_SPAN = COMPLETE_S * SECOND
_STALE = STALE_S * SECOND
_FRESH = FRESH_QUOTE_S * SECOND


@inlined
def put_id(book: SymbolState, ts: int, trade_id: int) -> None:
    """Records a dense id: a jump opens a hole; a late id shrinks or splits the hole that it lies in."""
    clock = book.clock[0]
    if clock.newest_id == 0 or trade_id == clock.newest_id + 1:
        clock.newest_id = trade_id
    elif trade_id > clock.newest_id:
        hole = book.holes[clock.holes]
        hole.low, hole.high, hole.ts = clock.newest_id + 1, trade_id - 1, ts
        clock.holes += 1
        clock.newest_id = trade_id
    else:
        _fill(book, trade_id)


@inlined
def _fill(book: SymbolState, trade_id: int) -> None:
    clock = book.clock[0]
    for i in range(clock.holes):
        hole = book.holes[i]
        if hole.low <= trade_id <= hole.high:
            if hole.low == hole.high:
                clock.holes -= 1
                _copy(book, clock.holes, i)
            elif trade_id == hole.low:
                hole.low += 1
            elif trade_id == hole.high:
                hole.high -= 1
            else:
                _copy(book, i, clock.holes)
                book.holes[clock.holes].low = trade_id + 1
                hole.high = trade_id - 1
                clock.holes += 1
            return


@inlined
def _copy(book: SymbolState, source: int, target: int) -> None:
    a, b = book.holes[source], book.holes[target]
    b.low, b.high, b.ts = a.low, a.high, a.ts


@inlined
def is_complete(book: SymbolState, t: int, step: int) -> bool:
    """Whether the row's windows up to 60 min contain no hole, gap, silence or start of a stream, and no quote is old.

    The first return of a window begins one grid step before it. Older holes are dropped.
    """
    clock = book.clock[0]
    edge = t - _SPAN - step
    kept = 0
    for i in range(clock.holes):
        if book.holes[i].ts > edge:
            _copy(book, i, kept)
            kept += 1
    clock.holes = kept
    gap = max(clock.gap_end, clock.silence_end)
    lost = max(clock.trade_gap, clock.ticker_gap)
    trades = t - clock.trade_ts <= _STALE
    quotes = t - clock.quote_seen <= _STALE
    since = max(clock.trade_since if trades else NEVER, clock.quote_since if quotes else NEVER)
    fresh = not quotes or t - clock.quote_ts <= _FRESH
    return kept == 0 and gap <= edge and t - lost > _STALE and since <= edge and fresh
