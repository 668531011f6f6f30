"""The fast part of the market: the trades and quotes of one minute, given its parameters from the day; pure.

Order of generation: the activity of each second, the mid price at each quote (a Brownian bridge in activity time
between the minute's ends), the spread, then bursts of trades at the current bid or ask.
"""

from dataclasses import dataclass

import numpy as np

from ingestion.simulator.blocks import Quotes, Trades
from ingestion.simulator.noise import key_of, normal, uniform
from ingestion.simulator.pairs import Pair
from lakehouse.arrays import Floats, Ints

MINUTE_US = 60_000_000
TRADE_SHARE = 0.3  # of all events; the others are quotes
_SECONDS_US = np.arange(61) * 1_000_000.0
_QTY_SD = 1.3  # of the log of a trade's quantity
_CHILDREN = 0.45  # share of trades that belong to the burst of the trade before them
_SAME_INSTANT = 0.7  # share of those that are fills of the same order


@dataclass(frozen=True, slots=True)
class Setting:
    """What the day says about a minute: its log prices at both ends, volatility (and the usual one), ids, and key."""

    start_us: int
    key: int
    log_price: float
    next_log_price: float
    sigma: float
    usual_sigma: float
    first_id: int
    count: int


@dataclass(frozen=True, slots=True)
class Past:
    """The 24 h before a minute, prices in ticks: what the rolling figures of its quotes start from."""

    open: int
    last: int
    low: int
    high: int
    vwap: int
    volume: int
    trades: int


@dataclass(frozen=True, slots=True)
class QuotePath:
    """Best bid and ask at each change, in ticks and units."""

    ts: Ints
    bid: Ints
    bid_qty: Ints
    ask: Ints
    ask_qty: Ints
    shock: Floats


def mean_qty(pair: Pair) -> float:
    """Mean quantity of a trade in base units (of the log-normal law the trades follow)."""
    return pair.qty * float(np.exp(_QTY_SD**2 / 2))


def make_minute(setting: Setting, pair: Pair) -> tuple[Trades, QuotePath]:
    """The minute's trades, in order of id and time, and its quotes, the first one right at its beginning."""
    weights = np.exp(0.7 * _normal(setting, "seconds", 60))
    clock = np.concatenate([[0.0], np.cumsum(weights)])
    clock /= clock[-1]
    book = _book(setting, pair, clock)
    return _trades(setting, pair, clock, book), book


def _normal(setting: Setting, name: str, count: int) -> Floats:
    return normal(key_of(setting.key, name), np.arange(count))


def _uniform(setting: Setting, name: str, count: int) -> Floats:
    return uniform(key_of(setting.key, name), np.arange(count))


def _book(setting: Setting, pair: Pair, clock: Floats) -> QuotePath:
    count = max(1, round(setting.count * (1 / TRADE_SHARE - 1)))
    u = np.sort(_uniform(setting, "quote times", count))
    u[0] = 0.0
    shock = _normal(setting, "quote shocks", count + 1)
    walk = np.concatenate([[0.0], np.cumsum(shock[1:] * np.sqrt(np.diff(u, append=1.0)))])
    bridge = walk[:-1] - u * walk[-1]
    drift = (setting.next_log_price - setting.log_price) * u
    mid = np.exp(setting.log_price + drift + setting.sigma * bridge) * 10**pair.price_digits
    stress = np.sqrt(setting.sigma / setting.usual_sigma)
    width = mid * 1e-4 * pair.spread_bp * stress * np.exp(0.3 * _normal(setting, "spread", count))
    spread = np.maximum(1, np.round(width)).astype(np.int64)
    bid = np.maximum(1, np.round(mid - spread / 2)).astype(np.int64)
    # The price tends slightly to move towards the thinner side of the book.
    tilt = 0.5 * shock[1:]
    return QuotePath(
        setting.start_us + np.interp(u, clock, _SECONDS_US).astype(np.int64),
        bid,
        _units(pair, 20 * pair.qty * np.exp(_normal(setting, "bid size", count) + tilt)),
        bid + spread,
        _units(pair, 20 * pair.qty * np.exp(_normal(setting, "ask size", count) - tilt)),
        shock,
    )


def _trades(setting: Setting, pair: Pair, clock: Floats, book: QuotePath) -> Trades:
    count = setting.count
    child = _uniform(setting, "children", count) < _CHILDREN
    child[:1] = False
    burst = np.cumsum(~child) - 1
    order = np.arange(count) - np.flatnonzero(~child)[burst] if count else burst
    u = np.sort(_uniform(setting, "trade times", int(count - child.sum())))
    later = child & (_uniform(setting, "fills", count) > _SAME_INSTANT)
    lag = np.where(later, -np.log(_uniform(setting, "lags", count)) * 30_000, 0.0)
    offset = np.minimum(np.interp(u, clock, _SECONDS_US)[burst] + lag, MINUTE_US - 1).astype(np.int64)
    # A fast market is slightly one-sided.
    force = np.searchsorted(book.ts, setting.start_us + offset, "right") - 1
    leaning = _normal(setting, "sides", count)[burst] + 0.3 * book.shock[force[np.arange(count) - order]]
    buy = leaning > 0
    # Later fills of one order walk the book.
    depth = np.where(later, 0, (0.25 * order * (book.ask - book.bid)[force]).astype(np.int64))
    price = np.where(buy, book.ask[force] + depth, np.maximum(1, book.bid[force] - depth))
    qty = _units(pair, pair.qty * np.exp(_QTY_SD * _normal(setting, "sizes", count)))
    sort = np.argsort(offset, kind="stable")
    market = _uniform(setting, "order types", count)[burst] < 0.45
    ids = setting.first_id + np.arange(count)
    return Trades(ids, setting.start_us + offset[sort], price[sort], qty[sort], buy[sort], market[sort])


def _units(pair: Pair, qty: Floats) -> Ints:
    units: Ints = np.round(np.maximum(qty, pair.qty_min) * 10**pair.qty_digits).astype(np.int64)
    return units


def with_rolling(book: QuotePath, trades: Trades, past: Past) -> Quotes:
    """The quotes with their 24 h figures: those of the past day, plus what has traded since the minute began."""
    done = np.searchsorted(trades.ts, book.ts, "right")
    last = np.concatenate([[past.last], trades.price])[done]
    change = last - past.open
    return Quotes(
        ts=book.ts,
        bid=book.bid,
        bid_qty=book.bid_qty,
        ask=book.ask,
        ask_qty=book.ask_qty,
        last=last,
        volume=past.volume + np.concatenate([[0], np.cumsum(trades.qty)])[done],
        vwap=np.full(len(book.ts), past.vwap),
        low=np.minimum.accumulate(np.concatenate([[min(past.low, past.last)], trades.price]))[done],
        high=np.maximum.accumulate(np.concatenate([[max(past.high, past.last)], trades.price]))[done],
        change=change,
        change_pct=np.round(1e4 * change / past.open).astype(np.int64),
        trades=past.trades + done,
    )
