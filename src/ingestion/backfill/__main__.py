"""The backfill command: loads a file or Kraken's history through Kafka into bronze, then rebuilds silver."""

import argparse
import logging
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tqdm import tqdm

from features.spec import LEAD_IN
from ingestion.backfill.columns import Kind
from ingestion.backfill.held_history import HeldHistory
from ingestion.backfill.history import PageCache, fetch_history
from ingestion.backfill.loading import Loaded, Loader
from ingestion.backfill.pending import Pending
from ingestion.kafka_log.publisher import Publisher
from ingestion.kraken.rest_client import KrakenRest, http_client
from ingestion.kraken.rest_messages import check_symbol
from ingestion.silver.engine_config import engine_config
from ingestion.silver.rebuild import rebuild
from lakehouse.errors import FatalError, LakeError, RetryableError
from lakehouse.process import retrying, set_up_logging, stop_event
from lakehouse.settings import Settings, load_settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from lakehouse.times import parse_utc

log = logging.getLogger("backfill")

FLUSH_S = 60.0
_HELP = """\
examples:
  python -m ingestion.backfill --file trades.parquet --quotes quotes.parquet --symbol BTC/USD
  python -m ingestion.backfill --file Kraken_Trading_History.zip --symbol ETH/USD
  python -m ingestion.backfill --file exchange.csv --pair BTCUSD --symbol BTC/USD
  python -m ingestion.backfill --symbol BTC/USD --symbol ETH/USD --since 2026-10-01 --until 2026-11-01
Run the same command again after an interruption: it goes on where it was. The lake must be up (scripts/up.sh)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one backfill; 0 when everything is in the lake."""
    asked = _parser().parse_args(arguments)
    set_up_logging()
    stop = stop_event()
    try:
        _check(asked)
        settings = load_settings()
        retrying(lambda: kafka.reach(settings), stop, "reaching Kafka")
        with ExitStack() as closing:
            questdb = QuestDB(settings)
            closing.callback(questdb.close)
            reader = kafka.consumer(settings, group=kafka.GROUP)
            closing.callback(reader.close)
            publisher = Publisher(kafka.producer(settings, linger_ms=50.0), stop)
            lake = HeldHistory(settings, questdb, reader, stop)
            pending = Pending(settings.state_dir / "backfill")
            if asked.since is None:
                _files(asked, settings, lake, publisher, pending)
            else:
                _history(asked, settings, lake, publisher, pending, stop)
            lake.wait_landed()
            log.info("bronze holds everything")
            if not asked.no_rebuild:
                _rebuild(asked.symbol, settings, questdb, pending)
        return 0
    except LakeError as error:
        log.error("%s", error)
        return 1


def _files(
    asked: argparse.Namespace, settings: Settings, lake: HeldHistory, publisher: Publisher, pending: Pending
) -> None:
    (symbol,) = asked.symbol
    pair = asked.pair or symbol
    with ExitStack() as closing:
        reader = kafka.consumer(settings, "tradelake-backfill")
        closing.callback(reader.close)
        loader = Loader(publisher, reader, settings.state_dir / "backfill", lake, pending)
        given: list[tuple[Path, Kind]] = [(asked.file, "trade"), (asked.quotes, "quote")]
        for path, kind in given:
            if path is not None:
                loaded = loader.load(path, symbol, kind, pair)
                _report(path.name, loaded)
                if loaded.dense is not None:
                    lake.note_density(symbol, loaded.dense)


def _history(
    asked: argparse.Namespace,
    settings: Settings,
    lake: HeldHistory,
    publisher: Publisher,
    pending: Pending,
    stop: threading.Event,
) -> None:
    until = asked.until or datetime.now(UTC)
    lake.wait_landed()
    rest = KrakenRest(http_client(settings.rest_url), settings.kraken_rest_interval_s)
    cache = PageCache(settings.state_dir / "cache" / "trades", rest, stop)
    walks = [(symbol, lake.held(symbol, asked.since, until), asked.since) for symbol in asked.symbol]
    for symbol, held, _ in walks:
        log.info("%s: bronze holds %s of that span already", symbol, sum((s.end - s.start for s in held), timedelta()))
    fetched = fetch_history(walks, until, cache, publisher, pending)
    if publisher.flush(FLUSH_S):
        raise RetryableError(f"Kafka did not acknowledge everything within {FLUSH_S:g} s; run this again")
    for one in fetched:
        log.info("%s: %d trades sent", one.symbol, one.sent)


def _rebuild(symbols: Sequence[str], settings: Settings, questdb: QuestDB, pending: Pending) -> None:
    """Rebuilds the silver rows of what is new in bronze."""
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
                    lambda done, bar=bar: bar.update(round(done.total_seconds())),  # type: ignore[misc]
                )
            pending.remove(symbol, (first, last))


def _report(name: str, loaded: Loaded) -> None:
    rate = f" ({loaded.sent / loaded.seconds:,.0f}/s)" if loaded.sent and loaded.seconds else ""
    log.info("%s: %d rows sent%s", name, loaded.sent, rate)
    if loaded.bad:
        log.warning("%s: %d bad rows set aside: python -m ingestion.dead_letters.letters list", name, loaded.bad)
    if loaded.others:
        log.warning("%s: %d rows of other symbols left out", name, loaded.others)


def _check(asked: argparse.Namespace) -> None:
    for symbol in asked.symbol:
        check_symbol(symbol)
    if (asked.file or asked.quotes) and (asked.since or asked.until or len(asked.symbol) != 1):
        raise FatalError("a file wants exactly one --symbol, and neither --since nor --until")
    if not (asked.file or asked.quotes or asked.since):
        raise FatalError("say what to load: --file (and/or --quotes), or --since for Kraken's own history")
    if asked.pair and asked.since:
        raise FatalError("--pair says what a file calls the symbol; Kraken's own history needs --symbol only")
    if asked.since and asked.since >= (asked.until or datetime.now(UTC)):
        raise FatalError("--since must lie before --until (by default: now)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ingestion.backfill",
        description=__doc__,
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--symbol", action="append", required=True, help="as BTC/USD; repeat it with --since")
    parser.add_argument("--pair", help="what the file calls the symbol where that differs, e.g. BTCUSD")
    parser.add_argument("--file", type=Path, help="trades: Parquet, CSV or zipped CSV")
    parser.add_argument("--quotes", type=Path, help="quotes: Parquet or CSV")
    parser.add_argument("--since", type=parse_utc, help="fetch Kraken's history from this day (or time, UTC) on")
    parser.add_argument("--until", type=parse_utc, help="… and up to this one (exclusive; by default now)")
    parser.add_argument(
        "--no-rebuild", action="store_true", help="bronze only; the next run without this makes the silver rows"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
