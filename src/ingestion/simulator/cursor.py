"""Reads one symbol's market forwards: new events since the last step, and the time of the next one; pure."""

from dataclasses import dataclass

from ingestion.simulator.blocks import Ledger, Quotes, Trades, last_quote

MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class NewEvents:
    """What happened in a step; ``force`` is the quote in force before it (no row or one) followed by ``quotes``."""

    trades: Trades
    quotes: Quotes
    force: Quotes


class MarketCursor:
    """Reads a ledger forwards, a minute of it at a time."""

    def __init__(self, ledger: Ledger, symbol: str, start_us: int) -> None:
        self._ledger, self._symbol = ledger, symbol
        self.seek(start_us)

    def seek(self, to_us: int) -> None:
        """Continues from ``to_us`` and skips the events in between."""
        self.cursor_us = to_us
        self._force = last_quote(self._ledger, self._symbol, to_us)
        self._load()

    def _load(self) -> None:
        self._end_us = self.cursor_us // MINUTE_US * MINUTE_US + MINUTE_US
        self._trades = self._ledger.trades_between(self._symbol, self.cursor_us, self._end_us)
        self._quotes = self._ledger.quotes_between(self._symbol, self.cursor_us, self._end_us)
        self._done = [0, 0]

    def next_us(self) -> int:
        """The time of the next event or, if earlier, of the next minute."""
        due = [int(b.ts[i]) for b, i in zip((self._trades, self._quotes), self._done, strict=True) if i < len(b)]
        return min(due, default=self._end_us)

    def advance(self, to_us: int) -> NewEvents:
        """The events from the cursor up to ``to_us`` (exclusive)."""
        trades, quotes = [], []
        while True:
            until = min(to_us, self._end_us)
            trades.append(self._trades.cut(self._done[0], int(self._trades.ts.searchsorted(until))))
            quotes.append(self._quotes.cut(self._done[1], int(self._quotes.ts.searchsorted(until))))
            self._done[0] += len(trades[-1])
            self._done[1] += len(quotes[-1])
            self.cursor_us = max(until, self.cursor_us)
            if to_us < self._end_us:
                break
            self._load()
        new_quotes = Quotes.join(quotes)
        force = Quotes.join([self._force, new_quotes])
        self._force = force.cut(max(0, len(force) - 1), len(force))
        return NewEvents(Trades.join(trades), new_quotes, force)
