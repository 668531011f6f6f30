"""Fills holes in the trade ids from REST, on its own thread, so that live data never waits."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ingestion.completeness.id_gaps import Hole
from ingestion.kraken.rest_client import PAGE, KrakenRest
from ingestion.kraken.rest_messages import TradesPage
from ingestion.producer.deduplicator import Deduplicator
from ingestion.producer.fill_turns import FillJob, FillTurns, since_ns
from lakehouse.errors import FatalError, RetryableError

log = logging.getLogger(__name__)

GRACE_S = 2.0
PROBE_S = 300.0
ABSENT_AFTER = 3
RETRY_S, MAX_RETRY_S = 5.0, 300.0


def next_since(page: TradesPage, since: int, last_wanted: int) -> int | None:
    """The start of the next page; None once REST has returned everything up to ``last_wanted``."""
    if len(page.trades) + len(page.bad) < PAGE or page.last is None:
        return None
    if any(trade.trade_id >= last_wanted for trade in page.trades):
        return None
    # Avoid an endless loop when one nanosecond has more trades than a page.
    return max(page.last, since + 1)


class GapFiller:
    """Fills holes page by page, taking symbols in turn.

    Args:
        rest: a client used by this thread only.
        sink: knows the holes and accepts the trades.
        doubt: called with a symbol for which REST has trades that the live feed did not deliver.
    """

    def __init__(
        self, rest: KrakenRest, sink: Deduplicator, symbols: Sequence[str], doubt: Callable[[str], None]
    ) -> None:
        self._rest = rest
        self._sink = sink
        self._symbols = tuple(symbols)
        self._doubt = doubt
        self._turns = {symbol: FillTurns() for symbol in symbols}
        self._reported: dict[str, list[Hole]] = {symbol: [] for symbol in symbols}
        self._absent: dict[str, list[Hole]] = {symbol: [] for symbol in symbols}
        self._fruitless: dict[tuple[str, int], tuple[int, float]] = {}
        self._probed: dict[str, float] = dict.fromkeys(symbols, time.monotonic())

    def run(self, stop: threading.Event) -> None:
        """Fills holes until ``stop`` is set.

        Raises:
            FatalError: Kafka refused a message.
        """
        while not stop.wait(0.1):
            for symbol in self._symbols:
                if self._rest.wait_s(symbol) <= 0 and not stop.is_set():
                    self.step(symbol, stop)

    def report(self, holes: Mapping[str, Sequence[Hole]]) -> None:
        """Accepts ledger gaps below the deduplicator's floor; above it, only gaps already abandoned.

        Ids that the exchange did not have are therefore requested again, but only once per report. Thread-safe: lists
        are replaced, never changed while the filling thread reads them.
        """
        for symbol, found in holes.items():
            floor, absent = self._sink.floor(symbol), self._absent[symbol]
            self._reported[symbol] = [
                hole
                for hole in found
                if floor is not None
                and (hole.last < floor or any(a.first <= hole.first and hole.last <= a.last for a in absent))
            ]

    def step(self, symbol: str, stop: threading.Event) -> None:
        """Makes at most one REST call for the symbol."""
        job = self._next_job(symbol)
        try:
            if job is not None:
                self._work(symbol, job)
            elif time.monotonic() - self._probed[symbol] > PROBE_S:
                self._probe(symbol, stop)
        except RetryableError as error:
            log.warning("%s: %s; again in %.0f s", symbol, error, self._rest.wait_s(symbol))
            if job is not None:
                self._turns[symbol].again(job)

    def _next_job(self, symbol: str) -> FillJob | None:
        now = time.monotonic()
        holes = self._sink.holes(symbol, now - GRACE_S)
        if not holes:
            self._fruitless = {key: value for key, value in self._fruitless.items() if key[0] != symbol}
        wanted = [hole for hole in holes if self._fruitless.get((symbol, hole.last), (0, 0.0))[1] <= now]
        # Read once: `report`, in another thread, may replace the list at any moment.
        return self._turns[symbol].next(wanted, self._reported[symbol])

    def _work(self, symbol: str, job: FillJob) -> None:
        page = self._page(symbol, job.since)
        hole = job.hole
        # A page holds up to a thousand trades: fill every reported hole that it covers.
        ids = [trade.trade_id for trade in page.trades]
        low, high = min(ids, default=0), max(ids, default=-1)
        reported = self._reported[symbol]
        asked = [hole] if job.audited else []
        asked += [h for h in reported if h.first <= high and h.last >= low]
        sent = sum(self._sink.refill(trade, _around(trade.trade_id, asked)) for trade in page.trades)
        self._reported[symbol] = [h for h in reported if h.first < low or h.last > high]
        if sent:
            log.info("%s: refilled %d trades, hole %d..%d", symbol, sent, hole.first, hole.last)
        since = next_since(page, job.since, hole.last)
        if since is not None:
            self._turns[symbol].go_on(replace(job, since=since))
        elif not job.audited:
            self._conclude(symbol, hole, any(trade.trade_id > hole.last for trade in page.trades))

    def _conclude(self, symbol: str, hole: Hole, passed: bool) -> None:
        """Retries ids that REST does not return; gives up once it repeatedly returns only later trades."""
        key = (symbol, hole.last)
        left = [h for h in self._sink.holes(symbol, float("inf")) if hole.first <= h.first and h.last <= hole.last]
        if not left:
            self._fruitless.pop(key, None)
            return
        tries = self._fruitless.get(key, (0, 0.0))[0] + 1
        if passed and tries >= ABSENT_AFTER:
            self._fruitless.pop(key, None)
            for each in left:
                self._sink.give_up(symbol, each.first, each.last)
            self._absent[symbol] = [*self._absent[symbol], *left]
            return
        pause = min(RETRY_S * 2.0 ** (tries - 1), MAX_RETRY_S)
        for each in left:
            self._fruitless[symbol, each.last] = (tries, time.monotonic() + pause)

    def _probe(self, symbol: str, stop: threading.Event) -> None:
        """Checks whether a quiet stream is dead: whether REST has newer trades."""
        self._probed[symbol] = time.monotonic()
        newest = self._sink.newest(symbol)
        if newest is None or datetime.now(UTC) - newest[1] < timedelta(seconds=PROBE_S):
            return
        page = self._page(symbol, since_ns(newest[1]))
        if not any(trade.trade_id > newest[0] for trade in page.trades) or stop.wait(GRACE_S):
            return
        if self._sink.newest(symbol) == newest:
            log.warning("%s: REST has newer trades than the live feed delivered", symbol)
            self._doubt(symbol)
            for trade in page.trades:
                self._sink.refill(trade)
            if len(page.trades) >= PAGE:
                self._probed[symbol] = 0.0

    def _page(self, symbol: str, since: int) -> TradesPage:
        try:
            page, _ = self._rest.trades(symbol, since)
        except FatalError as error:
            # Only this pair is refused: the other pairs continue, and this one is retried later.
            raise RetryableError(str(error)) from error
        for bad in page.bad:
            self._sink.dead_letter(bad.payload, bad.error.reason, "rest", str(bad.error), symbol)
        return page


def _around(trade_id: int, holes: Sequence[Hole]) -> Hole | None:
    return next((hole for hole in holes if hole.first <= trade_id <= hole.last), None)
