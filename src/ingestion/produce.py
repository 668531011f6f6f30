"""The producer process: Kraken's live trades and quotes into Kafka, each trade once, every quote outage marked."""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

from ingestion.completeness import ledger_gaps
from ingestion.completeness.id_gaps import Hole, IdFilter
from ingestion.kafka_log.publisher import Publisher
from ingestion.kraken.rest_client import KrakenRest, http_client
from ingestion.producer import metrics
from ingestion.producer.deduplicator import Deduplicator
from ingestion.producer.gap_filler import GapFiller
from ingestion.producer.live_feed import LiveFeed
from ingestion.producer.resume import LogTail, read_tail
from lakehouse import process
from lakehouse.background import BackgroundThreads
from lakehouse.errors import LakeError
from lakehouse.settings import Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)

FLUSH_S = 8.0


def main(settings: Settings, stop: threading.Event) -> None:
    """Runs the producer until ``stop`` is set; resumes from the end of the log in Kafka.

    Raises:
        FatalError: Kafka refused us or permanently refused a message. Exception: the failure of a background thread.
    """
    tails = process.retrying(lambda: _tails(settings), stop, "reading the end of the log")
    publisher = Publisher(kafka.producer(settings), stop)
    sink = make_sink(publisher, tails, settings)
    feed = LiveFeed(settings.ws_url, settings.symbols, settings.trade_source, sink, publisher)
    rest = KrakenRest(http_client(settings.rest_url), settings.kraken_rest_interval_s)
    refill = GapFiller(rest, sink, settings.symbols, feed.doubt)
    helpers = BackgroundThreads(stop)
    helpers.start("refill", lambda: refill.run(stop))
    helpers.start("audit", lambda: _audit(settings, refill, stop))
    try:
        feed.run(stop)
    finally:
        stop.set()
        left = publisher.flush(FLUSH_S)
        log.log(logging.WARNING if left else logging.INFO, "stopped, %d messages unacknowledged", left)
    helpers.check()


def make_sink(publisher: Publisher, tails: dict[str, LogTail], settings: Settings) -> Deduplicator:
    """A deduplicator that resumes where the log ends and marks the time in between as a gap."""
    now = time.monotonic()
    filters = {s: tails[s].filter(now) if s in tails else IdFilter() for s in settings.symbols}
    for symbol, seen in filters.items():
        metrics.HOLES.labels(symbol).set(seen.missing)
        log.info("%s: resumes after trade %s, %d ids missing", symbol, seen.top, seen.missing)
    sink = Deduplicator(publisher, filters, timedelta(seconds=settings.future_tolerance_s))
    if tails:
        sink.resume_after({s: tails[s].last_quote if s in tails else None for s in settings.symbols})
    return sink


def _tails(settings: Settings) -> dict[str, LogTail]:
    kafka.reach(settings)
    consumer = kafka.consumer(settings, group="tradelake-producer")
    try:
        return read_tail(consumer, settings.symbols)
    finally:
        consumer.close()


def _audit(settings: Settings, refill: GapFiller, stop: threading.Event) -> None:
    """Reports the ledger's holes to the gap filler, more often after a start, while the consumer may be catching up."""
    questdb = QuestDB(settings)
    pause = ledger_gaps.SOONEST_S
    while True:
        try:
            refill.report(_lake_holes(questdb, settings.symbols))
        except LakeError as error:
            log.info("ledger not checked this time: %s", error)
        if stop.wait(pause):
            return
        pause = min(2 * pause, ledger_gaps.EVERY_S)


def _lake_holes(questdb: QuestDB, symbols: Sequence[str]) -> dict[str, list[Hole]]:
    return {symbol: ledger_gaps.open_holes(questdb, symbol) for symbol in symbols}
