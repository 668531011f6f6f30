"""The simulated market: every trade and quote as a function of (seed, symbol, time), at a configurable density.

A minute is generated as a whole from its own random numbers and the parameters of its day. It can be generated alone
and in any order, with the same result: ids and prices continue across restarts, and history reaches back to genesis.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

import numpy as np

from ingestion.simulator.blocks import Quotes, Trades
from ingestion.simulator.climate import DAY_MINUTES, Climate
from ingestion.simulator.minute import (
    MINUTE_US,
    TRADE_SHARE,
    Past,
    QuotePath,
    Setting,
    make_minute,
    mean_qty,
    with_rolling,
)
from ingestion.simulator.noise import key_of
from ingestion.simulator.pairs import PAIRS, Pair


class Market:
    """All symbols' trades and quotes from ``genesis`` on.

    Args:
        seed: another seed, another market.
        events_per_s: mean number of trades and quotes per second and symbol; another density is another market.
        genesis: when trade ids start (at 1), to the minute.
        pairs: the listed markets.
    """

    def __init__(
        self, seed: int, events_per_s: float, genesis: datetime, pairs: Mapping[str, Pair] | None = None
    ) -> None:
        self.pairs = dict(PAIRS if pairs is None else pairs)
        minute = int(genesis.timestamp()) // 60
        self.genesis_us = minute * MINUTE_US
        self._symbols = {symbol: _Symbol(seed, pair, events_per_s, minute) for symbol, pair in self.pairs.items()}

    def trades(self, symbol: str, start: datetime, stop: datetime) -> Trades:
        """Trades with ``start <= ts < stop``; `Trades.columns` gives them as clients see them."""
        return self.trades_between(symbol, micros(start), micros(stop))

    def quotes(self, symbol: str, start: datetime, stop: datetime) -> Quotes:
        """Quotes with ``start <= ts < stop``; `Quotes.columns` gives them as clients see them."""
        return self.quotes_between(symbol, micros(start), micros(stop))

    def trades_between(self, symbol: str, start_us: int, stop_us: int) -> Trades:
        """As `trades`, with times in µs since 1970."""
        make = self._symbols[symbol].trades
        return Trades.join([make(m) for m in self._minutes(start_us, stop_us)]).between(start_us, stop_us)

    def quotes_between(self, symbol: str, start_us: int, stop_us: int) -> Quotes:
        """As `quotes`, with times in µs since 1970."""
        make = self._symbols[symbol].quotes
        return Quotes.join([make(m) for m in self._minutes(start_us, stop_us)]).between(start_us, stop_us)

    def _minutes(self, start_us: int, stop_us: int) -> range:
        """The minutes that cover the span; at least one, so that there is always something to cut from."""
        first = max(start_us, self.genesis_us) // MINUTE_US
        return range(first, max(first + 1, -(-stop_us // MINUTE_US)))


def micros(time: datetime) -> int:
    """µs since 1970, exactly."""
    return int(time.timestamp()) * 1_000_000 + time.microsecond


class _Symbol:
    """The minutes of one symbol, numbered from 1970; pure but for its caches."""

    def __init__(self, seed: int, pair: Pair, events_per_s: float, genesis_minute: int) -> None:
        self._pair, self._genesis = pair, genesis_minute
        self._key = key_of(seed, pair.symbol, "minutes")
        self._climate = Climate(seed, pair, TRADE_SHARE * events_per_s, genesis_minute)
        self._events = lru_cache(maxsize=16)(self._make)
        self.quotes = lru_cache(maxsize=16)(self._quotes)

    def trades(self, minute: int) -> Trades:
        """The minute's trades."""
        return self._events(minute)[0]

    def _make(self, minute: int) -> tuple[Trades, QuotePath]:
        number, place = divmod(minute, DAY_MINUTES)
        day = self._climate.day(number)
        first_id = int(day.first_id[place])
        setting = Setting(
            start_us=minute * MINUTE_US,
            key=key_of(self._key, minute),
            log_price=float(day.log_price[place]),
            next_log_price=float(day.log_price[place + 1]),
            sigma=float(day.sigma[place]),
            usual_sigma=self._climate.usual_sigma,
            first_id=first_id,
            count=int(day.first_id[place + 1]) - first_id,
        )
        return make_minute(setting, self._pair)

    def _quotes(self, minute: int) -> Quotes:
        trades, book = self._events(minute)
        return with_rolling(book, trades, self._past(minute))

    def _past(self, minute: int) -> Past:
        """The day before ``minute`` on the grid of minutes: figures as good as a ticker's, without its trades."""
        start = max(minute - DAY_MINUTES, self._genesis)
        prices, ids = [], []
        for number in range(start // DAY_MINUTES, minute // DAY_MINUTES + 1):
            day = self._climate.day(number)
            places = slice(max(0, start - number * DAY_MINUTES), minute - number * DAY_MINUTES + 1)
            prices.append(day.log_price[:DAY_MINUTES][places])
            ids.append(day.first_id[:DAY_MINUTES][places])
        ticks = np.exp(np.concatenate(prices)) * 10**self._pair.price_digits
        first_id = np.concatenate(ids)
        trades = int(first_id[-1] - first_id[0])
        counts = np.diff(first_id, append=first_id[-1])
        before = self.trades(minute - 1).price[-1:] if minute > self._genesis else ticks[:0]
        return Past(
            open=max(1, round(ticks[0])),
            last=int(before[0]) if len(before) else max(1, round(ticks[-1])),
            low=max(1, round(ticks.min())),
            high=max(1, round(ticks.max())),
            vwap=max(1, round(np.sum(ticks * counts) / trades if trades else ticks[-1])),
            volume=round(trades * mean_qty(self._pair) * 10**self._pair.qty_digits),
            trades=trades,
        )
