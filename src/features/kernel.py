"""The compiled loop over one symbol's events: applies each in log order and emits a row when one is due."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.id_holes import is_complete, put_id
from features.jit import inlined, jit
from features.spec import QUOTE_FIELDS, STALE_S, positions
from features.symbol_state import DAY, MINUTE, NEVER, SECOND, SymbolState
from features.trade_buckets import advance_tiles, put_trade
from features.variance import close_variance, measure, price_since, write_variance
from features.vol_grid import QUOTE, TRADE, advance_grid, put_price
from features.windows import close_trades, write_long, write_windows
from lakehouse.arrays import Floats

_STALE = STALE_S * SECOND
IS_TRADE, IS_QUOTE, IS_TICKER_GAP, IS_TRADE_GAP = 0, 1, 2, 3
# In a quote, and in a row.
_BID, _BID_QTY, _ASK, _ASK_QTY = map(QUOTE_FIELDS.index, ("bid", "bid_qty", "ask", "ask_qty"))
(_QUOTE,) = positions(QUOTE_FIELDS[0])
_MID, _SPREAD, _IMBALANCE, _MICROPRICE, _QUOTE_AGE = positions(
    "mid", "spread_bps", "imbalance", "microprice", "quote_age"
)
_LAST, _TRADE_AGE, _TOD_SIN, _TOD_COS, _DOW = positions("last", "trade_age", "tod_sin", "tod_cos", "dow")


class EventArrays(NamedTuple):
    """One symbol's events as arrays: kind and time of each, the fields of trades, and a separate array of quotes."""

    kind: NDArray[np.int8]
    ts: NDArray[np.int64]
    trade_id: NDArray[np.int64]
    price: Floats
    qty: Floats
    sign: NDArray[np.int8]
    quotes: Floats


class Rules(NamedTuple):
    """The configuration in microseconds; ``dense``: missing trade ids are holes."""

    interval: int
    step: int
    silence: int
    dense: bool


@jit
def count_rows(book: SymbolState, batch: EventArrays, rules: Rules) -> int:
    """How many rows `run` will emit."""
    newest, interval, rows = book.clock[0].newest, book.clock[0].interval, 0
    for i in range(len(batch.ts)):
        ts = batch.ts[i]
        if batch.kind[i] <= IS_QUOTE and ts >= newest:
            newest = ts
            if rules.interval == 0 or ts // rules.interval > interval:
                interval = ts // rules.interval if rules.interval else 0
                rows += 1
    return rows


@jit
def run(
    book: SymbolState,
    batch: EventArrays,
    rules: Rules,
    index: NDArray[np.int64],
    complete: NDArray[np.bool_],
    out: Floats,
) -> None:
    """Applies the batch; row r is as of event ``index[r]``, its features are ``out[r]``."""
    clock = book.clock[0]
    quote = row = 0
    for i in range(len(batch.ts)):
        ts = batch.ts[i]
        kind = batch.kind[i]
        if kind > IS_QUOTE:
            _lose(book, kind, rules.step)
            continue
        in_order = ts >= clock.newest
        if ts > clock.newest:
            _advance(book, ts, rules)
        if kind == IS_TRADE:
            _trade(book, batch, i, rules)
        else:
            _quote(book, ts, batch.quotes[quote], rules.step)
            quote += 1
        if in_order and (rules.interval == 0 or ts // rules.interval > clock.interval):
            clock.interval = ts // rules.interval if rules.interval else 0
            index[row] = i
            complete[row] = is_complete(book, ts, rules.step)
            _emit(book, ts, rules.step, out[row])
            row += 1


@inlined
def _advance(book: SymbolState, ts: int, rules: Rules) -> None:
    clock = book.clock[0]
    if clock.newest == NEVER:
        clock.second, clock.minute, clock.point = ts // SECOND, ts // MINUTE, ts // rules.step
    else:
        if not rules.dense and ts - clock.newest > rules.silence:
            clock.silence_end = ts
        if ts // SECOND > clock.second:
            advance_tiles(book, ts)
        if ts // rules.step > clock.point:
            advance_grid(book, ts, rules.step)
    clock.newest = ts


@inlined
def _trade(book: SymbolState, batch: EventArrays, i: int, rules: Rules) -> None:
    clock = book.clock[0]
    ts, price, trade_id = batch.ts[i], batch.price[i], batch.trade_id[i]
    dense = rules.dense and trade_id > 0
    if ts - clock.trade_ts > _STALE:
        clock.trade_since = ts
    elif clock.trade_gap > NEVER and not dense:
        clock.gap_end = max(clock.gap_end, clock.trade_gap, ts)
    clock.trade_gap = NEVER  # dense ids already show what was missed
    put_trade(book, ts, price, batch.qty[i], batch.sign[i])
    if ts >= clock.trade_ts:
        clock.trade_ts, clock.last = ts, price
    put_price(book, ts, price, TRADE, rules.step)
    if dense:
        put_id(book, ts, trade_id)


@inlined
def _quote(book: SymbolState, ts: int, quote: Floats, step: int) -> None:
    """Applies a quote; the first one after a gap is valid from the gap's end on, even if stamped earlier."""
    clock = book.clock[0]
    if clock.newest - ts > _STALE:
        return
    holds = max(ts, clock.ticker_gap)
    if ts - clock.quote_seen > _STALE:
        clock.quote_since = ts
    elif clock.ticker_gap > NEVER:
        clock.gap_end = max(clock.gap_end, holds)
    clock.ticker_gap = NEVER
    clock.quote_seen = max(clock.quote_seen, ts)
    mid = (quote[_BID] + quote[_ASK]) / 2.0
    if holds >= clock.quote_ts:
        clock.quote_ts, clock.mid = holds, mid
        book.quote[:] = quote
    put_price(book, holds, mid, QUOTE, step)


@inlined
def _lose(book: SymbolState, kind: int, step: int) -> None:
    """Applies a gap at the newest event time, since its own stamp is the producer's clock, not the exchange's."""
    clock = book.clock[0]
    if clock.newest == NEVER:
        return
    if kind == IS_TRADE_GAP:
        clock.trade_gap = clock.newest
        return
    clock.ticker_gap = clock.quote_ts = clock.newest
    clock.mid = np.nan
    book.quote[:] = np.nan
    put_price(book, clock.newest, np.nan, QUOTE, step)


@inlined
def _emit(book: SymbolState, t: int, step: int, out: Floats) -> None:
    clock = book.clock[0]
    out[:] = np.nan
    since = price_since(book, t)
    minute = t // MINUTE
    if clock.closed_minute != minute or clock.closed_since != since:
        close_trades(book, minute)
        close_variance(book, minute, since, step)
        clock.closed_minute, clock.closed_since, clock.vol_point = minute, since, NEVER
    if clock.vol_point != clock.point or clock.vol_since != since:
        measure(book, since, step)
        clock.vol_point, clock.vol_since = clock.point, since
    write_variance(book, out)
    write_windows(book, t, step, out)
    write_long(book, t, step, out)
    if t - clock.quote_ts <= _STALE:
        _write_quote(book.quote, out)
        if not np.isnan(clock.mid):
            out[_QUOTE_AGE] = (t - clock.quote_ts) / SECOND
    if t - clock.trade_ts <= _STALE:
        out[_LAST] = clock.last
        out[_TRADE_AGE] = (t - clock.trade_ts) / SECOND
    phase = 2.0 * math.pi * (t % DAY) / DAY
    out[_TOD_SIN], out[_TOD_COS] = math.sin(phase), math.cos(phase)
    out[_DOW] = (t // DAY + 3) % 7


@inlined
def _write_quote(quote: Floats, out: Floats) -> None:
    bid, bid_qty, ask, ask_qty = quote[_BID], quote[_BID_QTY], quote[_ASK], quote[_ASK_QTY]
    for i in range(len(quote)):
        out[_QUOTE + i] = quote[i]
    mid = (bid + ask) / 2.0
    out[_MID] = mid
    out[_SPREAD] = 1e4 * (ask - bid) / mid
    if bid_qty + ask_qty > 0.0:
        out[_IMBALANCE] = (bid_qty - ask_qty) / (bid_qty + ask_qty)
        out[_MICROPRICE] = (bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty)
