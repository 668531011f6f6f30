"""The one definition of every feature: name, order, unit, window and formula; docs, tables and hash come from it."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from lakehouse.schema import Column

if TYPE_CHECKING:
    from lakehouse.settings import Settings

# Spans of time over single events, in seconds; a window is (t - W, t].
WINDOWS = {"10s": 10, "1m": 60, "5m": 300, "15m": 900, "1h": 3600}
# Spans over minute sums: the running minute and the closed ones that began after t - W.
LONG_WINDOWS = {"4h": 14_400, "24h": 86_400}
# Half-lives of the exponentially weighted variance, in minutes, over the last 24 h.
HALF_LIVES_MIN = (5, 15, 30, 60, 120, 240)
# `complete` speaks of the windows up to this one, in seconds.
COMPLETE_S = 3600
# A quote in force for longer, in seconds, may have been replaced unseen: `complete` does not vouch for it.
FRESH_QUOTE_S = 60
# A stream silent for longer is not known any more: its values are void and its clock starts anew with the next event.
STALE_S = 4 * 3600
# Folding from t - LEAD_IN on gives the rows from t on that folding everything gives: the longest window, the silence
# after which nothing is known, as much again for what holds later than it is stamped (the first quote after a gap),
# and room for minutes and grid steps that stick out of the window.
LEAD_IN = timedelta(seconds=LONG_WINDOWS["24h"] + 2 * STALE_S + 600)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What the engine must be told.

    Attributes:
        interval_ms: a row on the first event of each interval of event time; 0: on every event.
        vol_step_s: step of the grid of realised volatility; divides 60.
        silence_s: for sparse symbols, a silence longer than this makes rows incomplete.
        sparse: symbols whose trade ids are not dense, so that holes cannot be seen.
    """

    interval_ms: int = 1000
    vol_step_s: int = 5
    silence_s: float = 900.0
    sparse: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.vol_step_s < 1 or 60 % self.vol_step_s:
            raise ValueError(f"vol_step_s must divide 60, got {self.vol_step_s}: set VOL_STEP_S to e.g. 5 or 60")
        if self.interval_ms < 0:
            raise ValueError(f"interval_ms must not be negative, got {self.interval_ms}: set FEATURE_INTERVAL_MS")

    @classmethod
    def of(cls, settings: "Settings", sparse: frozenset[str] = frozenset()) -> Self:
        """The engine as the settings want it."""
        return cls(settings.feature_interval_ms, settings.vol_step_s, settings.silence_s, sparse)


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature column; ``window`` is empty for values as of the row's event."""

    name: str
    unit: str
    window: str
    formula: str

    def column(self) -> Column:
        """The feature as a column of silver."""
        span = f" Window {self.window}." if self.window else ""
        return Column(self.name, "DOUBLE", f"{self.formula} Unit: {self.unit}.{span}")


# Per window of `WINDOWS`, in this order: stem, unit, formula.
WINDOW_STATS = (
    ("trades", "trades", "Number of trades."),
    ("volume", "base units", "Sum of qty."),
    (
        "signed_volume",
        "base units",
        "Sum of qty of buys minus that of sells (taker side; unknown side counts 0).",
    ),
    ("vwap", "quote currency", "sum(price * qty) / sum(qty)."),
    ("ret", "log return", "ln(last / price of the last trade at or before t - W)."),
    (
        "rv",
        "squared log return",
        "Sum of r_k^2 over the grid points in the window; NULL if the step does not divide W.",
    ),
    ("range_bps", "bps", "1e4 * (max - min) / last."),
    ("mean", "quote currency", "Moving average: mean trade price."),
    ("ema", "quote currency", "Mean grid price, weight 2^(-age / (W / 4)), age counted from the newest grid point."),
    ("std", "quote currency", "Standard deviation of trade prices: sqrt(mean((price - mean)^2))."),
    ("min", "quote currency", "Lowest trade price."),
    ("max", "quote currency", "Highest trade price."),
    ("momentum", "bps", "1e4 * (last / mean - 1)."),
)

# As of the newest quote; NULL after a gap of the ticker until the next quote. First the quote's own fields.
_QUOTE_AS_SENT = (
    ("bid", "quote currency", "Best bid."),
    ("bid_qty", "base units", "Quantity at the best bid."),
    ("ask", "quote currency", "Best ask."),
    ("ask_qty", "base units", "Quantity at the best ask."),
    ("h24_last", "quote currency", "Last price as the ticker tells it."),
    ("h24_volume", "base units", "Volume of the last 24 h as the ticker tells it."),
    ("h24_vwap", "quote currency", "Volume-weighted average price of the last 24 h as the ticker tells it."),
    ("h24_low", "quote currency", "Lowest price of the last 24 h as the ticker tells it."),
    ("h24_high", "quote currency", "Highest price of the last 24 h as the ticker tells it."),
    ("h24_change", "quote currency", "Price change over 24 h as the ticker tells it."),
    ("h24_change_pct", "percent", "Price change over 24 h as the ticker tells it."),
)
_QUOTE_DERIVED = (
    ("mid", "quote currency", "(bid + ask) / 2."),
    ("spread_bps", "bps", "1e4 * (ask - bid) / mid."),
    ("imbalance", "-1 to 1", "(bid_qty - ask_qty) / (bid_qty + ask_qty)."),
    ("microprice", "quote currency", "(bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty)."),
    ("quote_age", "seconds", "t - time of the newest quote."),
)

# Per window of `LONG_WINDOWS`, on minute sums, in this order: stem, unit, formula.
LONG_STATS = (
    ("trades", "trades", "Number of trades."),
    ("volume", "base units", "Sum of qty."),
    ("signed_volume", "base units", "Sum of qty of buys minus sum of qty of sells."),
    ("rv", "squared log return", "Sum of r_k^2 over the grid points in the minutes."),
    ("ret", "log return", "ln(last / price of the last trade at or before the start of the oldest minute)."),
)

_EWMA = (
    "sum(w * rv of the minute) / sum(w * known returns of the minute) * returns per minute, w = 2^(-minutes ago / {h})."
)
_TOD = "Sum of r_k^2 over the grid points in (t - 24 h, t - 24 h + 5 min], divided by 5."

_NOW = (
    ("last", "quote currency", "Price of the newest trade."),
    ("trade_age", "seconds", "t - time of the newest trade."),
    ("tod_sin", "-1 to 1", "sin(2 pi * seconds since midnight UTC / 86400)."),
    ("tod_cos", "-1 to 1", "cos(2 pi * seconds since midnight UTC / 86400)."),
    ("dow", "0 to 6", "Day of the week in UTC, Monday is 0."),
)


def _features() -> tuple[Feature, ...]:
    short = [Feature(f"{stem}_{w}", unit, w, text) for w in WINDOWS for stem, unit, text in WINDOW_STATS]
    long = [Feature(f"{stem}_{w}", unit, w, text) for w in LONG_WINDOWS for stem, unit, text in LONG_STATS]
    ewma = [Feature(f"ewma_rv_{h}m", "variance per minute", "24h", _EWMA.format(h=h)) for h in HALF_LIVES_MIN]
    tod = [Feature("rv_tod", "variance per minute", "24h", _TOD)]
    quote = [Feature(name, unit, "", text) for name, unit, text in (*_QUOTE_AS_SENT, *_QUOTE_DERIVED)]
    now = [Feature(name, unit, "", text) for name, unit, text in _NOW]
    return (*short, *long, *ewma, *tod, *quote, *now)


FEATURES = _features()
NAMES = tuple(f.name for f in FEATURES)
# Fields of a quote that are features as they are sent, in the order of these features.
QUOTE_FIELDS = tuple(name.removeprefix("h24_") for name, _, _ in _QUOTE_AS_SENT)
COLUMNS = tuple(f.column() for f in FEATURES)
# What precedes the features in a frame of rows: what the row is as of, and whether its windows are complete.
ROW_COLUMNS = ("ts", "received_at", "symbol", "epoch", "seq", "complete")
# Raised when a formula's meaning changes though its text does not.
VERSION = 1


def positions(*names: str) -> tuple[int, ...]:
    """Where these features stand in a row."""
    return tuple(map(NAMES.index, names))


def spec_hash(config: EngineConfig) -> str:
    """Names the definitions a row was made by: 12 hex digits over formulas, interval, step and silence."""
    parts = [f"{f.name}|{f.unit}|{f.window}|{f.formula}" for f in FEATURES]
    parts.append(
        f"{VERSION}|{config.interval_ms}|{config.vol_step_s}|{config.silence_s!r}|{STALE_S}|{COMPLETE_S}|{FRESH_QUOTE_S}"
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
