"""The facts behind the alerts, read from a real QuestDB: what is wrong in its tables is in the metrics."""

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from prometheus_client import REGISTRY

from downstream.backup import record
from forecast.monitoring import lake_facts
from lakehouse.findings import note
from lakehouse.schema import BRONZE_QUOTES, BRONZE_TRADES, GOLD_FORECAST_SCORES, GOLD_QUALITY
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB
from lakehouse.task_results import finding
from tests.integration.consuming import migrated
from tests.integration.days import quotes, trades
from tests.integration.lakes import eventually
from tests.support.servers import LocalServers

NOW = datetime.now(UTC).replace(microsecond=0)
YESTERDAY = NOW.date() - timedelta(days=1)


@pytest.fixture
def questdb(fresh_lake: Settings) -> Iterator[QuestDB]:
    """An emptied QuestDB with every table and view."""
    database = QuestDB(migrated(fresh_lake), timeout_s=5)
    yield database
    database.close()


def value(name: str, **labels: str) -> float | None:
    """A metric of this process as Prometheus would scrape it."""
    return REGISTRY.get_sample_value(name, labels)


def told(database: QuestDB, name: str, **labels: str) -> float | None:
    assert lake_facts.tell_facts(database)
    return value(name, **labels)


def test_ids_that_bronze_lacks_are_counted_from_the_ledger(questdb: QuestDB) -> None:
    whole = trades(YESTERDAY, count=100)
    questdb.write(BRONZE_TRADES, whole.filter(~pl.col("trade_id").is_in([40, 41, 60])))
    eventually(lambda: told(questdb, "ledger_ids_missing", symbol="BTC/USD") == 3)
    questdb.write(BRONZE_TRADES, whole)
    eventually(lambda: told(questdb, "ledger_ids_missing", symbol="BTC/USD") == 0)


def test_a_suspended_table_is_told(questdb: QuestDB, fresh_lake: Settings) -> None:
    earlier = YESTERDAY - timedelta(days=1)
    for day in (earlier, YESTERDAY):
        questdb.write(BRONZE_QUOTES, quotes(day))
    questdb.wait_applied([BRONZE_QUOTES.name])
    assert told(questdb, "table_suspended", table="bronze_quotes") == 0
    (folder,) = (fresh_lake.state_dir / "questdb/db").glob(f"bronze_quotes~*/{earlier}*")
    shutil.rmtree(folder)
    questdb.write(BRONZE_QUOTES, quotes(earlier, count=10))
    eventually(lambda: told(questdb, "table_suspended", table="bronze_quotes") == 1)
    assert value("table_suspended", table="bronze_trades") == 0


def test_an_invalid_view_is_told(questdb: QuestDB) -> None:
    assert told(questdb, "view_invalid", view="gold_ohlc_1m") == 0
    # Its base is emptied behind its back.
    questdb.execute("TRUNCATE TABLE bronze_trades")
    eventually(lambda: told(questdb, "view_invalid", view="gold_ohlc_1m") == 1)


def test_a_day_of_scores_is_one_skill_and_coverage_per_target(questdb: QuestDB) -> None:
    count = 20
    rows = pl.DataFrame(
        {
            "ts": [NOW - timedelta(minutes=i) for i in range(count)],
            "loss": [3.0] * count,
            "baseline_loss": [2.0] * count,
            "inside_80": [i < 13 for i in range(count)],
            "inside_95": [i < 19 for i in range(count)],
            "seq": range(count),
        }
    ).with_columns(
        pl.col("ts").cast(pl.Datetime("us", "UTC")),
        symbol=pl.lit("BTC/USD"),
        target=pl.lit("vol"),
        horizon_s=pl.lit(60, pl.Int32),
        model_version=pl.lit("vol/1"),
        epoch=pl.lit(1),
    )
    questdb.write(GOLD_FORECAST_SCORES, rows)
    questdb.wait_applied([GOLD_FORECAST_SCORES.name])
    assert told(questdb, "forecast_day_skill_ratio", target="vol") == pytest.approx(-0.5)
    assert value("forecast_day_coverage_ratio", target="vol", interval="80") == pytest.approx(0.65)
    assert value("forecast_day_coverage_ratio", target="vol", interval="95") == pytest.approx(0.95)


def test_the_last_run_of_a_task_counts_and_so_does_the_last_drill(questdb: QuestDB) -> None:
    earlier = NOW - timedelta(hours=1)
    note(
        questdb, earlier, [finding("backup_daily", "backup", "failed", 3), finding("quality_hourly", "q", "success", 1)]
    )
    note(questdb, NOW, [finding("backup_daily", "backup", "success", 1), finding("quality_hourly", "q", "failed", 3)])
    record(questdb, earlier, 4, "drill of 2026-01-05")
    record(questdb, NOW, 6, "backup to 2026-01-06")
    questdb.wait_applied([GOLD_QUALITY.name])
    assert told(questdb, "task_failed", task="quality_hourly.q") == 1
    assert value("task_failed", task="backup_daily.backup") == 0
    assert value("task_ended_timestamp_seconds", task="backup_daily.backup") == NOW.timestamp()
    assert value("drill_last_passed_timestamp_seconds") == earlier.timestamp()
    assert value("backup_last_verified_timestamp_seconds") == NOW.timestamp()


def test_what_cannot_be_read_is_neither_kept_nor_called_read(questdb: QuestDB, servers: LocalServers) -> None:
    questdb.write(BRONZE_TRADES, trades(YESTERDAY, count=10))
    eventually(lambda: told(questdb, "ledger_ids_missing", symbol="BTC/USD") == 0)
    read = value("lake_facts_timestamp_seconds")
    questdb.execute("DROP VIEW bronze_completeness")
    eventually(lambda: not lake_facts.tell_facts(questdb))
    assert value("ledger_ids_missing", symbol="BTC/USD") is None
    assert value("lake_facts_timestamp_seconds") == read


def test_without_questdb_the_facts_grow_old_and_come_back(questdb: QuestDB, servers: LocalServers) -> None:
    assert lake_facts.tell_facts(questdb)
    read = value("lake_facts_timestamp_seconds")
    servers.kill("questdb")
    assert not lake_facts.tell_facts(questdb)
    assert value("lake_facts_timestamp_seconds") == read
    servers.start("questdb")
    eventually(lambda: lake_facts.tell_facts(questdb))
    assert (value("lake_facts_timestamp_seconds") or 0) > (read or 0)


def test_the_thread_reads_at_once_and_stops_when_told(fresh_lake: Settings) -> None:
    migrated(fresh_lake)
    before = value("lake_facts_timestamp_seconds") or 0
    stop = threading.Event()
    thread = threading.Thread(target=lake_facts.export, args=(fresh_lake, stop))
    thread.start()
    eventually(lambda: (value("lake_facts_timestamp_seconds") or 0) > before)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
