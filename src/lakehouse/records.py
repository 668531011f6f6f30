"""The lake's records: trades, quotes, gaps, feature rows and forecasts."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Source = Literal["ws", "rest", "file", "sim"]
Side = Literal["buy", "sell"]
Stream = Literal["trade", "ticker"]
# The spelling of a pair, Kraken's v2 (`AAPLx/USD` is a tokenised stock), as a regular expression valid in Python and in
# Rust (polars).
SYMBOL_PATTERN = r"^[A-Z0-9.]{1,20}x?/[A-Z0-9.]{1,20}$"


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade on the exchange, identified by ``(symbol, trade_id)``.

    ``price`` is in quote currency, ``qty`` in base units, ``side`` is the taker's (None if a file does not say),
    ``ts`` is exchange time and ``received_at`` our clock, both UTC.
    """

    symbol: str
    trade_id: int
    price: float
    qty: float
    side: Side | None
    ord_type: str | None
    ts: datetime
    received_at: datetime
    source: Source


@dataclass(frozen=True, slots=True)
class Quote:
    """The best bid and ask at ``ts``, with Kraken's rolling 24 h figures where they are known."""

    symbol: str
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float
    ts: datetime
    received_at: datetime
    source: Source
    last: float | None = None
    volume: float | None = None
    vwap: float | None = None
    low: float | None = None
    high: float | None = None
    change: float | None = None
    change_pct: float | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """The producer lost ``stream`` of ``symbol``; the last quote is void from here on."""

    symbol: str
    stream: Stream
    ts: datetime
    received_at: datetime
    reason: str


Event = Trade | Quote | Gap


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """The features of ``symbol`` as of ``ts``: all that had arrived by log position ``(epoch, seq)``, nothing later."""

    symbol: str
    ts: datetime
    spec: str
    epoch: int
    seq: int
    complete: bool
    received_at: datetime
    values: dict[str, float | None] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Forecast:
    """One forecast of one target at one horizon, made from the feature row at ``(epoch, seq)``.

    ``target`` is ``bid`` (value in quote currency) or ``vol`` (square root of the sum of squared log returns over the
    horizon, dimensionless); ``lower``/``upper`` bound the 80 % interval and ``lower_95``/``upper_95`` the 95 % one.
    """

    ts: datetime
    symbol: str
    target: Literal["bid", "vol"]
    horizon_s: int
    value: float
    lower: float
    upper: float
    lower_95: float
    upper_95: float
    baseline: float
    model_version: str
    spec: str
    calibration: str
    epoch: int
    seq: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class RowForecasts:
    """All forecasts made from one feature row, of both targets; ``as_of`` is the row's ``ts``."""

    symbol: str
    as_of: datetime
    received_at: datetime
    spec: str
    epoch: int
    seq: int
    latency_ms: float
    forecasts: tuple[Forecast, ...]
