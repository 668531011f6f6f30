"""Fetches a symbol's history from Kraken's REST API page by page; caches pages and skips spans already held."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tqdm import tqdm

from ingestion.backfill.pending import Pending
from ingestion.completeness.held_spans import HeldSpan, is_held, skip
from ingestion.kafka_log.publisher import Publisher
from ingestion.kraken.rest_client import PAGE, KrakenRest
from ingestion.kraken.rest_messages import TradesPage, parse_trades_page
from lakehouse.errors import RetryableError
from lakehouse.messages import encode
from lakehouse.settings import HISTORY_TOPIC
from lakehouse.symbols import rest_pair

log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The number of trades of a symbol sent."""

    symbol: str
    sent: int


class PageCache:
    """Caches full pages on disk, which never change; a run after a kill reads them again without calling Kraken."""

    def __init__(self, folder: Path, rest: KrakenRest, stop: threading.Event) -> None:
        self._folder = folder
        self._rest = rest
        self._stop = stop

    def page(self, symbol: str, since_ns: int) -> TradesPage:
        """The page of trades from ``since_ns`` on, from disk or from Kraken within its rate limit.

        Raises:
            RetryableError: told to stop. FatalError: Kraken does not know the pair.
        """
        path = self._folder / rest_pair(symbol) / f"{since_ns}.json"
        if path.exists():
            return parse_trades_page(path.read_bytes(), symbol, datetime.now(UTC))
        page, body = self._fetch(symbol, since_ns)
        if len(page.trades) + len(page.bad) >= PAGE:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".draft")
            draft.write_bytes(body)
            draft.replace(path)
        return page

    def _fetch(self, symbol: str, since_ns: int) -> tuple[TradesPage, bytes]:
        while not self._stop.wait(max(0.0, self._rest.wait_s(symbol))):
            try:
                return self._rest.trades(symbol, since_ns)
            except RetryableError as error:
                log.warning("%s: %s; again in %.0f s", symbol, error, self._rest.wait_s(symbol))
        raise RetryableError("told to stop; run the same command again to go on")


@dataclass(slots=True)
class _Walk:
    """One symbol's progress through its history."""

    symbol: str
    spans: Sequence[HeldSpan]
    since: datetime
    until: datetime
    sent: int = 0

    def pages(self, fetch: Callable[[str, int], TradesPage]) -> Iterator[tuple[TradesPage, datetime]]:
        """Pages up to ``until``, each with the progress reached.

        A short page may be a passing error, so it ends the walk only if the next one is short too and has nothing new.
        """
        newest, short = -1, False
        at = to_ns(skip(self.since, self.spans))
        while at < to_ns(self.until):
            page = fetch(self.symbol, at)
            last = page.last if page.last is not None else at
            # Avoid an endless loop on a page whose trades share one nanosecond.
            at = to_ns(ahead) if (ahead := skip(to_time(last), self.spans)) != to_time(last) else max(last, at + 1)
            yield page, min(to_time(at), self.until)
            top = max((trade.trade_id for trade in page.trades), default=-1)
            was_short, short = short, len(page.trades) + len(page.bad) < PAGE
            if was_short and short and top <= newest:
                return
            newest = max(newest, top)


def fetch_history(
    walks: Sequence[tuple[str, Sequence[HeldSpan], datetime]],
    until: datetime,
    cache: PageCache,
    publisher: Publisher,
    pending: Pending,
) -> list[Fetched]:
    """Sends the trades of several symbols to the history log, a page of each in turn.

    Args:
        walks: symbol, spans that bronze holds, and start time.
        until: the end (exclusive).
        pending: records spans that need silver rows.

    Raises:
        RetryableError: told to stop. FatalError: Kraken does not know a pair.
    """
    all_walks = [_Walk(symbol, spans, since, until) for symbol, spans, since in walks]
    total = sum((until - walk.since).total_seconds() for walk in all_walks)
    running = {walk.symbol: (walk, walk.pages(cache.page)) for walk in all_walks}
    done = dict.fromkeys(running, 0.0)
    layout = "{l_bar}{bar}| {elapsed}, {remaining} left{postfix}"
    with tqdm(desc="Kraken → Kafka", total=total, bar_format=layout) as bar:
        while running:
            for symbol, (walk, pages) in list(running.items()):
                step = next(pages, None)
                if step is None:
                    done[symbol] = (until - walk.since).total_seconds()
                    del running[symbol]
                else:
                    _send(walk, step[0], publisher, pending)
                    done[symbol] = (step[1] - walk.since).total_seconds()
                bar.set_postfix_str(f"{sum(w.sent for w in all_walks)} trades", refresh=False)
                bar.update(sum(done.values()) - bar.n)
    return [Fetched(walk.symbol, walk.sent) for walk in all_walks]


def _send(walk: _Walk, page: TradesPage, publisher: Publisher, pending: Pending) -> None:
    for bad in page.bad:
        publisher.dead_letter(
            bad.payload, bad.error.reason, "rest", str(bad.error), topic=HISTORY_TOPIC, symbol=walk.symbol
        )
    wanted = [t for t in page.trades if walk.since <= t.ts < walk.until and not is_held(t.trade_id, walk.spans)]
    if wanted:
        pending.add(walk.symbol, min(t.ts for t in wanted), max(t.ts for t in wanted))
    for trade in wanted:
        publisher.send(HISTORY_TOPIC, walk.symbol, encode(trade))
    walk.sent += len(wanted)
    publisher.poll()


def to_ns(ts: datetime) -> int:
    """Nanoseconds since 1970."""
    return (ts - _EPOCH) // timedelta(microseconds=1) * 1000


def to_time(ns: int) -> datetime:
    """The time of nanoseconds since 1970, truncated to the microsecond."""
    return _EPOCH + timedelta(microseconds=ns // 1000)
