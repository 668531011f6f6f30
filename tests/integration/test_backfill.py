"""Backfills through real servers and the real consumer: every row once, however often and whenever killed."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka import TopicPartition

from ingestion.backfill.progress import FILE_HEADER
from lakehouse.settings import DEADLETTER_TOPIC, HISTORY_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from stack.envfile import child_environment
from stack.supervision.process import TRADELAKE
from tests.integration.feeds import Feeds, feeds, read_topic
from tests.integration.lakes import eventually

pytestmark = pytest.mark.timeout(400)
DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the recorded market data (shared/data) is not here")
BTC = "BTC/USD"


@pytest.fixture
def feed(fresh_lake: Settings, tmp_path: Path) -> Iterator[Feeds]:
    """A lake that remembers no backfill, with a running consumer, and a simulator that can be started."""
    for folder in ("backfill", "cache"):
        shutil.rmtree(fresh_lake.state_dir / folder, ignore_errors=True)
    with feeds(fresh_lake, tmp_path) as made:
        made.processes.start("consumer")
        yield made


@pytest.fixture
def questdb(feed: Feeds) -> Iterator[QuestDB]:
    client = QuestDB(feed.settings)
    yield client
    client.close()


def start(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    command = [*TRADELAKE, "backfill", *arguments]
    environment = os.environ | child_environment(settings)
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def backfill(settings: Settings, *arguments: str) -> str:
    """Runs a backfill to its end; what it said."""
    with start(settings, *arguments) as child:
        said = child.communicate(timeout=300)[1]
    assert child.returncode == 0, said
    return said


def trades(questdb: QuestDB, symbol: str) -> tuple[int, int]:
    """Rows and distinct ids of a symbol in bronze."""
    ((count, distinct),) = questdb.rows(
        "SELECT count(), count_distinct(trade_id) FROM bronze_trades WHERE symbol = %s", (symbol,)
    )
    return count, distinct


def runs(questdb: QuestDB) -> list[tuple[object, ...]]:
    return questdb.rows("SELECT symbol, run, rows FROM meta_runs")


def slice_of(folder: Path, name: str, rows: int) -> Path:
    path = folder / name
    pl.read_parquet(DATA / name).head(rows).write_parquet(path)
    return path


@needs_data
def test_a_second_run_changes_nothing_and_silver_is_made_once(feed: Feeds, questdb: QuestDB, tmp_path: Path) -> None:
    path = slice_of(tmp_path, "trades_bitflyer_btcjpy_2018-01-20_26.parquet", 3000)
    backfill(feed.settings, "--file", str(path), "--symbol", "BTC/JPY")
    assert trades(questdb, "BTC/JPY") == (3000, 3000)
    assert questdb.rows("SELECT symbol, dense FROM meta_symbols") == [("BTC/JPY", False)]
    ((symbol, _, rows),) = made = runs(questdb)
    assert symbol == "BTC/JPY" and isinstance(rows, int) and rows > 100
    sent = len(read_topic(feed.settings, HISTORY_TOPIC))
    assert "loaded before" in backfill(feed.settings, "--file", str(path), "--symbol", "BTC/JPY")
    assert (trades(questdb, "BTC/JPY"), runs(questdb)) == ((3000, 3000), made)
    assert len(read_topic(feed.settings, HISTORY_TOPIC)) == sent == 3000


@needs_data
def test_quotes_come_once_even_when_the_record_is_lost(feed: Feeds, questdb: QuestDB, tmp_path: Path) -> None:
    path = slice_of(tmp_path, "quotes_standx_btcusd_2026-01-05_06.parquet", 2000)
    for _ in range(2):
        backfill(feed.settings, "--quotes", str(path), "--symbol", BTC, "--no-rebuild")
        assert questdb.rows("SELECT count() FROM bronze_quotes") == [(2000,)]
        for record in (feed.settings.state_dir / "backfill").glob("*.json"):
            record.unlink()
    with start(feed.settings, "--quotes", str(path), "--symbol", "XRP/USD") as other:
        assert "has no quotes of XRP/USD: its symbols are BTC/USD" in other.communicate(timeout=60)[1]
    assert other.returncode == 3


@needs_data
def test_kraken_files_with_and_without_ids_live_side_by_side(feed: Feeds, questdb: QuestDB, tmp_path: Path) -> None:
    hour = DATA / "kraken" / "kraken_btcusd_trades_2019-07-01.csv"
    download = tmp_path / "XBTUSD.csv"
    download.write_text("1381095255,122.0,0.1\n1381095255,123.0,broken\n1381095256,124.0,0.3\n")
    for _ in range(2):
        said = backfill(feed.settings, "--file", str(hour), "--symbol", BTC, "--no-rebuild")
        backfill(
            feed.settings,
            "--file",
            str(DATA / "kraken" / "v2_trades_btcusd_2024-11-12.csv"),
            "--symbol",
            BTC,
            "--no-rebuild",
        )
        said = backfill(feed.settings, "--file", str(download), "--symbol", BTC, "--no-rebuild")
        assert "XBTUSD.csv, line 2: bad_qty: 1381095255,123.0,broken" in said
        assert trades(questdb, BTC) == (2672 + 50 + 2, 2672 + 50 + 2)
    ((payload, headers),) = read_topic(feed.settings, DEADLETTER_TOPIC)
    assert (payload, headers["origin"], headers["topic"]) == (
        b"1381095255,123.0,broken",
        b"file:XBTUSD.csv:2",
        HISTORY_TOPIC.encode(),
    )


def sent(settings: Settings) -> int:
    """How many messages market.history holds."""
    client = kafka.consumer(settings, group="look")
    parts = [TopicPartition(HISTORY_TOPIC, number) for number in range(settings.kafka_partitions)]
    found = sum(kafka.watermarks(client, part)[1] for part in parts)
    client.close()
    return found


@needs_data
def test_kill_9_in_the_middle_doubles_no_row(feed: Feeds, questdb: QuestDB, tmp_path: Path) -> None:
    path = slice_of(tmp_path, "quotes_standx_btcusd_2026-01-05_06.parquet", 273_553)
    child = start(feed.settings, "--quotes", str(path), "--symbol", BTC, "--no-rebuild")
    eventually(lambda: sent(feed.settings) > 1000, 120.0, 0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    held = len(read_topic(feed.settings, HISTORY_TOPIC))
    assert 1000 < held < 273_553
    said = backfill(feed.settings, "--quotes", str(path), "--symbol", BTC, "--no-rebuild")
    assert "resumes after row" in said
    found = [headers[FILE_HEADER] for _, headers in read_topic(feed.settings, HISTORY_TOPIC)]
    assert len(found) == 273_553 and len(set(found)) == 1
    assert questdb.rows("SELECT count() FROM bronze_quotes") == [(273_553,)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_in_the_rebuild_ends_it_within_two_seconds_and_the_next_run_goes_on(
    number: signal.Signals, feed: Feeds, questdb: QuestDB, tmp_path: Path
) -> None:
    path = tmp_path / "XBTUSD.csv"
    lines = (f"{1381095255 + i},{100 + i % 7},1,{i + 1}\n" for i in range(100_000))
    path.write_text("time,price,qty,trade_id\n" + "".join(lines))
    child = start(feed.settings, "--file", str(path), "--symbol", "XRP/USD")
    assert child.stderr is not None
    assert any("bronze holds everything" in line for line in child.stderr)
    time.sleep(1.0)
    begun = time.monotonic()
    child.send_signal(number)
    assert child.wait(20) == 128 + number
    assert time.monotonic() - begun < 2.0
    assert "Traceback" not in child.stderr.read()
    backfill(feed.settings, "--file", str(path), "--symbol", "XRP/USD")
    assert questdb.rows("SELECT count() FROM silver_training WHERE symbol = 'XRP/USD'") == [(100_000,)]


def test_without_a_consumer_it_says_so_and_waits(feed: Feeds, questdb: QuestDB, tmp_path: Path) -> None:
    feed.processes.stop("consumer")
    path = tmp_path / "XBTUSD.csv"
    path.write_text("time,price,qty,trade_id\n" + "".join(f"{1381095255 + i},1,1,{i + 1}\n" for i in range(10)))
    child = start(feed.settings, "--file", str(path), "--symbol", "XRP/USD", "--no-rebuild")
    time.sleep(15)
    assert child.poll() is None
    feed.processes.start("consumer")
    said = child.communicate(timeout=120)[1]
    assert child.returncode == 0 and "no consumer is running: start it with tradelake up" in said
    assert trades(questdb, "XRP/USD") == (10, 10)
    assert questdb.rows("SELECT symbol, dense FROM meta_symbols") == [("XRP/USD", True)]


def test_krakens_history_is_fetched_once_and_what_is_held_is_left_out(feed: Feeds, questdb: QuestDB) -> None:
    feed.processes.start("simulator")
    now = datetime.now(UTC).replace(microsecond=0)

    def fetch(since: datetime, until: datetime, symbols: Sequence[str] = (BTC, "ETH/USD")) -> None:
        chosen = [part for symbol in symbols for part in ("--symbol", symbol)]
        backfill(feed.settings, *chosen, "--since", since.isoformat(), "--until", until.isoformat())

    fetch(now - timedelta(minutes=40), now - timedelta(minutes=20))
    count, distinct = trades(questdb, BTC)
    first, last = questdb.rows("SELECT min(trade_id), max(trade_id) FROM bronze_trades WHERE symbol = %s", (BTC,))[0]
    assert count == distinct == last - first + 1 > 1000
    assert {symbol for symbol, _, _ in runs(questdb)} == {BTC, "ETH/USD"}
    sent = len(read_topic(feed.settings, HISTORY_TOPIC))
    fetch(now - timedelta(minutes=40), now - timedelta(minutes=20))
    assert len(read_topic(feed.settings, HISTORY_TOPIC)) - sent < 0.15 * sent
    fetch(now - timedelta(minutes=45), now - timedelta(minutes=15), (BTC,))
    first, last = questdb.rows("SELECT min(trade_id), max(trade_id) FROM bronze_trades WHERE symbol = %s", (BTC,))[0]
    again, distinct = trades(questdb, BTC)
    assert again == distinct == last - first + 1 > count
