"""The engine's state of one symbol: numpy records that compiled kernels read and write in place."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.spec import HALF_LIVES_MIN, LONG_WINDOWS, QUOTE_FIELDS, WINDOWS, EngineConfig
from lakehouse.arrays import Floats

Record = Any  # one element of Records: numba knows its fields, the type checker does not
Records = NDArray[Any]

SECOND = 1_000_000  # all times are microseconds since 1970
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
NEVER = -(2**62)
RING = 4096  # seconds and minutes kept: more than 60 min and 24 h, a power of two so that `& (RING - 1)` finds a place
DAY_MINUTES = 1440
CLOSED_SUMS = 4  # sums over the trades of a long window's closed minutes: count, volume, bought, sold
_GRID_S = 25 * 3600  # the vol grid is kept at least this long

# Clocks: newest times, the start of each stream, what is void, and which caches are valid.
CLOCK = np.dtype(
    [
        *((name, "i8") for name in ("newest", "interval", "second", "minute", "point")),
        *((name, "i8") for name in ("trade_ts", "trade_since", "quote_ts", "quote_seen", "quote_since")),
        *((name, "i8") for name in ("trade_gap", "ticker_gap", "gap_end", "silence_end", "newest_id", "holes")),
        *((name, "i8") for name in ("free", "free_count", "closed_minute", "closed_since", "vol_point", "vol_since")),
        ("last", "f8"),
        ("mid", "f8"),
    ]
)
# Trades of one second or one minute: mean and m2 (sum of squared deviations from it) as in Welford and Chan et al.
TILE = np.dtype(
    [
        *((name, "f8") for name in ("n", "mean", "m2", "low", "high", "volume", "notional", "buy", "sell")),
        ("close", "f8"),
        ("close_ts", "i8"),
        ("head", "i8"),  # newest arrival among the tile's raw trades, -1: none
    ]
)
RAW = np.dtype([("ts", "i8"), ("price", "f8"), ("qty", "f8"), ("sign", "i4"), ("next", "i4")])
# One point of the vol grid: the newest quote and trade at or before it, the price chosen, and its squared return.
POINT = np.dtype(
    [
        *((name, "i8") for name in ("quote_ts", "trade_ts")),
        *((name, "f8") for name in ("mid", "trade", "price", "r2")),
        ("kind", "i8"),
    ]
)
HOLE = np.dtype([("low", "i8"), ("high", "i8"), ("ts", "i8")])


class SymbolState(NamedTuple):
    """The state of one symbol.

    Attributes:
        clock: one `CLOCK`.
        seconds: ring of `TILE`, one per second; the raw trades of a second hang on it as a chain through ``raw``.
        minutes: ring of `TILE`, one per minute.
        minute_rv: ring, per minute the sum of squared grid returns.
        grid: ring of `POINT`.
        raw: pool of `RAW`; grows, and is refilled with what leaves the ring of seconds.
        holes: `HOLE`s still open, ``clock.holes`` of them: missing ids low..high, closed below by the trade at ts.
        quote: the newest quote, in the order of `features.spec.QUOTE_FIELDS`.
        closed: sums over the closed minutes, good for ``clock.closed_minute``.
        vol: features of the grid, good for ``clock.vol_point``.
        ema_weights: per window of `WINDOWS` a row of weights by age in grid steps.
        ewma_weights: per minute of age and half-life.
    """

    clock: Records
    seconds: Records
    minutes: Records
    minute_rv: Floats
    grid: Records
    raw: Records
    holes: Records
    quote: Floats
    closed: Floats
    vol: Floats
    ema_weights: Floats
    ewma_weights: Floats


def new_book(config: EngineConfig) -> SymbolState:
    """A book that knows nothing."""
    clock = np.zeros(1, CLOCK)
    for name in CLOCK.names or ():
        clock[name] = NEVER
    clock["free"], clock["free_count"], clock["holes"], clock["newest_id"] = -1, 0, 0, 0
    clock["last"], clock["mid"] = np.nan, np.nan
    grid = np.zeros(1 << (_GRID_S // config.vol_step_s).bit_length(), POINT)
    grid["quote_ts"], grid["trade_ts"] = NEVER, NEVER
    grid["mid"], grid["trade"], grid["price"] = np.nan, np.nan, np.nan
    book = SymbolState(
        clock=clock,
        seconds=_empty_tiles(),
        minutes=_empty_tiles(),
        minute_rv=np.zeros(RING),
        grid=grid,
        raw=np.zeros(0, RAW),
        holes=np.zeros(16, HOLE),
        quote=np.full(len(QUOTE_FIELDS), np.nan),
        closed=np.zeros((CLOSED_SUMS + 1) * len(LONG_WINDOWS) + 2 * len(HALF_LIVES_MIN)),
        vol=np.zeros(2 * len(WINDOWS) + len(LONG_WINDOWS) + len(HALF_LIVES_MIN) + 1),
        ema_weights=_ema_weights(config.vol_step_s),
        ewma_weights=0.5 ** (np.arange(DAY_MINUTES)[:, None] / np.array(HALF_LIVES_MIN)),
    )
    return with_room(book, 1024)


def with_room(book: SymbolState, trades: int) -> SymbolState:
    """The book with room for ``trades`` more raw trades and as many more holes; arrays are copied when they grow."""
    clock = book.clock
    if clock["free_count"][0] < trades:
        old = len(book.raw)
        raw = np.zeros(max(2 * old, old + trades), RAW)
        raw[:old] = book.raw
        raw["next"][old:] = np.arange(old + 1, len(raw) + 1)
        raw["next"][-1] = clock["free"][0]
        clock["free"], clock["free_count"] = old, clock["free_count"][0] + len(raw) - old
        book = book._replace(raw=raw)
    if len(book.holes) < clock["holes"][0] + trades:
        holes = np.zeros(max(2 * len(book.holes), int(clock["holes"][0]) + trades), HOLE)
        holes[: len(book.holes)] = book.holes
        book = book._replace(holes=holes)
    return book


def _empty_tiles() -> Records:
    tiles = np.zeros(RING, TILE)
    tiles["low"], tiles["high"] = np.inf, -np.inf
    tiles["close_ts"], tiles["head"] = NEVER, -1
    return tiles


def _ema_weights(step_s: int) -> Floats:
    ages = np.arange(max(WINDOWS.values()) // step_s) * step_s
    return np.stack([0.5 ** (ages / (w / 4)) for w in WINDOWS.values()])
