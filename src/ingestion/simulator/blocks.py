"""Trades and quotes as integer columns, so that the ledger, the WebSocket and REST show the same numbers.

Prices are counted in ticks of ``10**-price_digits``, quantities in units of ``10**-qty_digits``: the quotient of two
whole numbers is the very float that parsing the decimal text gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ingestion.simulator.pairs import Pair
from lakehouse.arrays import Ints


class _Block:
    """Columns of equal length, in order of time."""

    ts: Ints

    def __len__(self) -> int:
        return len(self.ts)

    def cut(self, start: int, stop: int) -> Self:
        """Rows ``start`` to ``stop`` (exclusive) by position."""
        return type(self)(*(getattr(self, f.name)[start:stop] for f in fields(self)))  # type: ignore[arg-type]

    def where(self, mask: NDArray[np.bool_]) -> Self:
        """The rows that ``mask`` marks."""
        return type(self)(*(getattr(self, f.name)[mask] for f in fields(self)))  # type: ignore[arg-type]

    def between(self, start_us: int, stop_us: int) -> Self:
        """Rows with ``start_us <= ts < stop_us``."""
        return self.cut(*np.searchsorted(self.ts, [start_us, stop_us]).tolist())

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The parts one after the other; at least one is needed."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Trades(_Block):
    """Trades: dense ``trade_id``, ``ts`` in µs since 1970, price in ticks, qty in units, taker's side, order type."""

    trade_id: Ints
    ts: Ints
    price: Ints
    qty: Ints
    buy: NDArray[np.bool_]
    market: NDArray[np.bool_]

    def columns(self, pair: Pair) -> dict[str, NDArray[Any]]:
        """The trades as clients see them: floats, ``buy``/``sell``, ``market``/``limit``, times in µs."""
        return {
            "trade_id": self.trade_id,
            "price": self.price / 10**pair.price_digits,
            "qty": self.qty / 10**pair.qty_digits,
            "side": np.where(self.buy, "buy", "sell"),
            "ord_type": np.where(self.market, "market", "limit"),
            "ts": self.ts.astype("datetime64[us]"),
        }


@dataclass(frozen=True, slots=True)
class Quotes(_Block):
    """Best bid and ask with the rolling 24 h figures; ``change_pct`` is in hundredths of a percent point."""

    ts: Ints
    bid: Ints
    bid_qty: Ints
    ask: Ints
    ask_qty: Ints
    last: Ints
    volume: Ints
    vwap: Ints
    low: Ints
    high: Ints
    change: Ints
    change_pct: Ints
    trades: Ints

    def columns(self, pair: Pair) -> dict[str, NDArray[Any]]:
        """The quotes as clients see them: floats, times in µs."""
        scale = dict.fromkeys(("bid_qty", "ask_qty", "volume"), 10**pair.qty_digits) | {"change_pct": 100}
        prices = dict.fromkeys(("bid", "ask", "last", "vwap", "low", "high", "change"), 10**pair.price_digits)
        columns: dict[str, NDArray[Any]] = {n: getattr(self, n) / by for n, by in (prices | scale).items()}
        return columns | {"trades": self.trades, "ts": self.ts.astype("datetime64[us]")}


class Ledger(Protocol):
    """Everything that happens on the exchange, past and future, regardless of what the servers show."""

    pairs: dict[str, Pair]
    genesis_us: int

    def trades_between(self, symbol: str, start_us: int, stop_us: int) -> Trades:
        """Trades with ``start_us <= ts < stop_us``."""
        ...

    def quotes_between(self, symbol: str, start_us: int, stop_us: int) -> Quotes:
        """Quote changes with ``start_us <= ts < stop_us``."""
        ...


_MINUTE_US = 60_000_000


def last_trades(ledger: Ledger, symbol: str, before_us: int, count: int) -> Trades:
    """The newest ``count`` trades with ``ts < before_us``, oldest first; fewer if the market is younger."""
    span = _MINUTE_US
    while True:
        trades = ledger.trades_between(symbol, before_us - span, before_us)
        if len(trades) >= count or before_us - span <= ledger.genesis_us:
            return trades.cut(max(0, len(trades) - count), len(trades))
        span *= 2


def first_trades(ledger: Ledger, symbol: str, since_us: int, before_us: int, count: int) -> Trades:
    """The first ``count`` trades with ``since_us <= ts < before_us``."""
    start = max(since_us, ledger.genesis_us)
    span = _MINUTE_US
    while True:
        trades = ledger.trades_between(symbol, start, min(start + span, before_us))
        if len(trades) >= count or start + span >= before_us:
            return trades.cut(0, min(count, len(trades)))
        span *= 2


def last_quote(ledger: Ledger, symbol: str, before_us: int) -> Quotes:
    """The quote in force just before ``before_us`` (one row; none if the market is younger)."""
    span = _MINUTE_US
    while True:
        quotes = ledger.quotes_between(symbol, before_us - span, before_us)
        if len(quotes) or before_us - span <= ledger.genesis_us:
            return quotes.cut(max(0, len(quotes) - 1), len(quotes))
        span *= 2
