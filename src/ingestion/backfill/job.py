"""Runs one backfill: a file, or Kraken's history, through Kafka into bronze, then silver rows from it."""

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tqdm import tqdm

from features.spec import LEAD_IN
from formats.refusal import PLAIN, Kind, ReadOptions
from ingestion.backfill.held_history import HeldHistory
from ingestion.backfill.history import PageCache, fetch_history
from ingestion.backfill.loading import Loaded, Loader
from ingestion.backfill.pending import Pending
from ingestion.kafka_log.publisher import Publisher
from ingestion.kraken.rest_client import KrakenRest, http_client
from ingestion.silver.engine_config import engine_config
from ingestion.silver.rebuild import rebuild
from lakehouse.errors import RetryableError
from lakehouse.process import retrying
from lakehouse.settings import Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from lakehouse.symbols import check_symbol

log = logging.getLogger("backfill")

FLUSH_S = 60.0


@dataclass(frozen=True, slots=True)
class FileSource:
    """Files of one symbol.

    Attributes:
        options: what the user says about the files; ``pair`` is what they call the symbol where that differs.
    """

    symbol: str
    trades: Path | None
    quotes: Path | None
    options: ReadOptions = PLAIN

    @property
    def symbols(self) -> tuple[str, ...]:
        """The one symbol."""
        return (self.symbol,)


@dataclass(frozen=True, slots=True)
class HistorySource:
    """Kraken's own history of ``since <= ts < until``; None: now."""

    symbols: tuple[str, ...]
    since: datetime
    until: datetime | None = None


def backfill(
    settings: Settings, source: FileSource | HistorySource, stop: threading.Event, silver: bool = True
) -> None:
    """Runs one backfill; everything is in the lake when it returns, and run again it goes on where it was.

    Args:
        silver: whether to make the silver rows, too; the next backfill with them makes up for it.

    Raises:
        RetryableError: a server is away. FatalError: a symbol or a file that the lake cannot take.
    """
    for symbol in source.symbols:
        check_symbol(symbol)
    retrying(lambda: kafka.reach(settings), stop, "reaching Kafka")
    with ExitStack() as closing:
        questdb = QuestDB(settings)
        closing.callback(questdb.close)
        reader = kafka.consumer(settings, group=kafka.GROUP)
        closing.callback(reader.close)
        publisher = Publisher(kafka.producer(settings, linger_ms=50.0), stop)
        lake = HeldHistory(settings, questdb, reader, stop)
        pending = Pending(settings.state_dir / "backfill")
        if isinstance(source, FileSource):
            _files(source, settings, lake, publisher, pending)
        else:
            _history(source, settings, lake, publisher, pending, stop)
        lake.wait_landed()
        log.info("bronze holds everything")
        if silver:
            _rebuild(source.symbols, settings, questdb, pending)


def _files(source: FileSource, settings: Settings, lake: HeldHistory, publisher: Publisher, pending: Pending) -> None:
    symbol = source.symbol
    with ExitStack() as closing:
        reader = kafka.consumer(settings, "tradelake-backfill")
        closing.callback(reader.close)
        loader = Loader(publisher, reader, settings.state_dir / "backfill", lake, pending)
        given: list[tuple[Path | None, Kind]] = [(source.trades, "trade"), (source.quotes, "quote")]
        for path, kind in given:
            if path is not None:
                loaded = loader.load(path, symbol, kind, source.options)
                _report(path.name, loaded)
                if loaded.dense is not None:
                    lake.note_density(symbol, loaded.dense)


def _history(
    source: HistorySource,
    settings: Settings,
    lake: HeldHistory,
    publisher: Publisher,
    pending: Pending,
    stop: threading.Event,
) -> None:
    until = source.until or datetime.now(UTC)
    lake.wait_landed()
    rest = KrakenRest(http_client(settings.rest_url), settings.kraken_rest_interval_s)
    cache = PageCache(settings.state_dir / "cache" / "trades", rest, stop)
    walks = [(symbol, lake.held(symbol, source.since, until), source.since) for symbol in source.symbols]
    for symbol, held, _ in walks:
        log.info("%s: bronze holds %s of that span already", symbol, sum((s.end - s.start for s in held), timedelta()))
    fetched = fetch_history(walks, until, cache, publisher, pending)
    if publisher.flush(FLUSH_S):
        raise RetryableError(f"Kafka did not acknowledge everything within {FLUSH_S:g} s; run this again")
    for one in fetched:
        log.info("%s: %d trades sent", one.symbol, one.sent)


def _rebuild(symbols: Sequence[str], settings: Settings, questdb: QuestDB, pending: Pending) -> None:
    """Rebuilds the silver rows of what is new in bronze; what is published is no longer pending."""
    for symbol in symbols:
        for first, last in pending.spans(symbol):
            end = last + timedelta(microseconds=1)
            seconds = round((end - first + LEAD_IN).total_seconds())
            with tqdm(desc=f"{symbol} → silver", total=seconds, unit=" s") as bar:
                rebuild(
                    questdb,
                    engine_config(settings, questdb),
                    symbol,
                    first,
                    end,
                    progress=lambda done, bar=bar: bar.update(round(done.total_seconds())),  # type: ignore[misc]
                    published=lambda until, symbol=symbol: pending.done_before(symbol, until),  # type: ignore[misc]
                )


def _report(name: str, loaded: Loaded) -> None:
    rate = f" ({loaded.sent / loaded.seconds:,.0f}/s)" if loaded.sent and loaded.seconds else ""
    log.info("%s: %d rows sent%s", name, loaded.sent, rate)
    if loaded.bad:
        log.warning("%s: %d bad rows set aside: tradelake dead-letters list", name, loaded.bad)
    if loaded.others:
        log.warning("%s: %d rows of other symbols left out", name, loaded.others)
