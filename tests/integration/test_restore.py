"""Restores and retention against a real QuestDB and object store: wipe, restore, compare; days leave only when safe."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from downstream import backup, restore, retention
from downstream.archive.archive import read_manifest
from downstream.archive.manifest import DayFile
from downstream.archive.tables import LAKE_TABLES
from ingestion.kafka_log.epochs import epoch_of
from lakehouse.errors import FatalError, NothingToDoError, RetryableError
from lakehouse.retention import behind, dropped_days
from lakehouse.schema import BRONZE_TRADES, META_EPOCHS
from lakehouse.settings import EVENTS_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB
from tests.integration.days import contents, fill, trades
from tests.integration.lakes import eventually
from tests.support.servers import free_ports

NOW = datetime.now(UTC)
TODAY = NOW.date()
DAYS = [TODAY - timedelta(days=age) for age in (6, 5, 4, 1, 0)]
TABLES = [table.name for table in LAKE_TABLES]
CANDLES = [f"gold_ohlc_{interval}" for interval in ("1m", "5m", "15m", "1h", "1d")]


@pytest.fixture
def questdb(stored_lake: Settings) -> Iterator[QuestDB]:
    """The emptied lake, filled with days of which the last is today."""
    database = QuestDB(stored_lake)
    fill(database, stored_lake, DAYS)
    restore.rebuild_views(database, stored_lake.feature_interval_ms)
    yield database
    database.close()


@pytest.fixture
def backed_up(questdb: QuestDB, objects: Objects) -> QuestDB:
    """The lake, once every whole day is backed up."""
    backup.run(questdb, objects, "simulator")
    return questdb


def _wipe(questdb: QuestDB) -> None:
    for kind, letter in (("VIEW", "V"), ("MATERIALIZED VIEW", "M"), ("TABLE", "T")):
        found = questdb.rows("SELECT table_name FROM tables() WHERE table_type = %s", (letter,))
        for (name,) in found:
            if not name.startswith("sys."):
                questdb.execute(f'DROP {kind} IF EXISTS "{name}"')


def _whole_days(questdb: QuestDB, names: list[str]) -> dict[str, object]:
    """Contents before today: what a backup can hold."""
    return {
        name: frame.filter(frame["ts"].dt.date() < TODAY).to_dicts() for name, frame in contents(questdb, names).items()
    }


def test_wipe_restore_compare(backed_up: QuestDB, stored_lake: Settings) -> None:
    before = _whole_days(backed_up, [*TABLES, *CANDLES])
    assert sum(map(len, before.values())) > 5_000  # type: ignore[arg-type]
    _wipe(backed_up)
    report = restore.restore_lake(stored_lake)
    assert report.files == 6 * 4 + 1
    assert _whole_days(backed_up, [*TABLES, *CANDLES]) == before
    # And what is backed up from the restored lake is the same, byte for byte: nothing is written anew.
    again = backup.back_up(stored_lake)
    assert (again.written, again.unchanged) == (0, report.files)


def test_the_log_of_a_new_machine_comes_after_the_restored_ones(backed_up: QuestDB, stored_lake: Settings) -> None:
    old = dict(backed_up.rows("SELECT epoch, topic_id FROM meta_epochs"))
    _wipe(backed_up)
    # The new machine's consumer was quicker than whoever restores.
    backed_up.migrate([META_EPOCHS], ())
    new = epoch_of(backed_up, "market.events", "made anew")
    # And so was its backup, which must not put its one row in the place of the old one.
    with pytest.raises(FatalError, match="1 of which are not in the lake"):
        backup.back_up(stored_lake)
    restore.restore_lake(stored_lake)
    assert dict(backed_up.rows("SELECT epoch, topic_id FROM meta_epochs")) == old | {new: "made anew"}
    assert new > max(old)
    assert backup.back_up(stored_lake).written == 1


def test_a_second_restore_changes_nothing(backed_up: QuestDB, stored_lake: Settings) -> None:
    before = contents(backed_up, TABLES)
    restore.restore_lake(stored_lake, DAYS[0])
    assert all(frame.equals(before[name]) for name, frame in contents(backed_up, TABLES).items())


def test_trades_that_rest_has_brought_meanwhile_are_skipped(backed_up: QuestDB, objects: Objects) -> None:
    whole = trades(DAYS[0])
    backed_up.execute(f"ALTER TABLE bronze_trades DROP PARTITION LIST '{DAYS[0]}'")
    refilled = whole[:300].with_columns(pl.col("ts") + timedelta(microseconds=1), source=pl.lit("rest"))
    backed_up.write(BRONZE_TRADES, refilled)
    restore.restore(backed_up, objects, DAYS[0])
    day = f"ts IN '{DAYS[0]}' AND symbol = 'BTC/USD'"
    found = backed_up.frame(f"SELECT trade_id, source FROM bronze_trades WHERE {day} ORDER BY trade_id")
    assert found["trade_id"].to_list() == whole["trade_id"].to_list()
    assert found["source"].to_list() == ["rest"] * 300 + ["sim"] * 200


def test_trades_that_the_backup_lacks_fail_it(backed_up: QuestDB, stored_lake: Settings) -> None:
    backed_up.write(BRONZE_TRADES, trades(DAYS[0], count=1, first_id=99_999))
    with pytest.raises(FatalError, match="holds 501 rows of BTC/USD"):
        restore.restore_lake(stored_lake, DAYS[0])


def test_a_day_goes_into_tables_of_its_own(backed_up: QuestDB, stored_lake: Settings) -> None:
    report = restore.restore_lake(stored_lake, DAYS[1], "scratch_")
    assert report.rows == 2 * (500 + 300 + 20)
    copy = backed_up.frame("SELECT * FROM scratch_bronze_trades ORDER BY ts, symbol, trade_id")
    live = backed_up.frame(f"SELECT * FROM bronze_trades WHERE ts IN '{DAYS[1]}' ORDER BY ts, symbol, trade_id")
    assert copy.equals(live)


def test_beside_a_consumer_live_tables_are_refused_and_scratch_ones_are_not(
    backed_up: QuestDB, stored_lake: Settings
) -> None:
    kafka.ensure_topics(kafka.admin(stored_lake), stored_lake.kafka_partitions)
    running = kafka.consumer(stored_lake)
    running.subscribe([EVENTS_TOPIC])

    def joined() -> bool:
        # Polling is what makes it join.
        running.poll(0.1)
        return kafka.members(kafka.admin(stored_lake)) == 1

    eventually(joined)
    with pytest.raises(FatalError, match=r"1 consumer.* 10 s more"):
        restore.restore_lake(stored_lake, DAYS[0])
    assert restore.restore_lake(stored_lake, DAYS[0], "scratch_").files
    running.close()
    assert restore.restore_lake(stored_lake, DAYS[0]).files


def test_without_kafka_only_scratch_tables_are_filled(backed_up: QuestDB, stored_lake: Settings) -> None:
    nobody = stored_lake.model_copy(update={"kafka_port": free_ports(1)[0]})
    with pytest.raises(RetryableError, match="Kafka"):
        restore.restore_lake(nobody, DAYS[0])
    assert restore.restore_lake(nobody, DAYS[0], "scratch_").files


def test_what_cannot_be_restored_says_so(backed_up: QuestDB, objects: Objects, stored_lake: Settings) -> None:
    with pytest.raises(FatalError, match="no complete backup of 1999-01-01"):
        restore.restore_lake(stored_lake, date(1999, 1, 1))
    with pytest.raises(FatalError, match="lower-case"):
        restore.restore_lake(stored_lake, DAYS[0], "x; DROP TABLE")
    part = DayFile("bronze_trades", "bronze", DAYS[0], "BTC/USD")
    manifest = read_manifest(objects, part)
    assert manifest is not None
    stored = objects.put(part.data_key, b"bits have rotted")
    objects.put(part.manifest_key, replace(manifest, version=stored.version).dump())
    with pytest.raises(FatalError, match="sha256"):
        restore.restore_lake(stored_lake, DAYS[0], "scratch_")


def test_days_leave_behind_their_backup_and_their_candles_stay(backed_up: QuestDB, objects: Objects) -> None:
    candles = contents(backed_up, CANDLES)
    report = retention.apply(backed_up, objects, 4, NOW, settle=lambda: None)
    left = [day.isoformat() for day in DAYS[:2]]
    assert report.left["bronze_trades"] == report.left["gold_forecasts"] == left
    assert not report.held_back
    kept = backed_up.frame("SELECT DISTINCT timestamp_floor('d', ts) day FROM bronze_trades ORDER BY day")
    assert kept["day"].dt.date().to_list() == DAYS[2:]
    # Restoring must know which candles are true, and no TTL is left that could take more by itself.
    assert all(frame.equals(candles[name]) for name, frame in contents(backed_up, CANDLES).items())
    assert backed_up.rows("SELECT ttlValue FROM tables() WHERE table_name = 'bronze_trades'") == [(0,)]
    assert dropped_days(backed_up)["bronze_trades"] == frozenset(DAYS[:2])
    refused = behind(trades(DAYS[0])["ts"], dropped_days(backed_up)["bronze_trades"])
    assert refused.all()
    assert not behind(trades(DAYS[3])["ts"], dropped_days(backed_up)["bronze_trades"]).any()


def test_a_day_that_left_comes_back(backed_up: QuestDB, objects: Objects, stored_lake: Settings) -> None:
    before = contents(backed_up, [*TABLES, *CANDLES])
    retention.apply(backed_up, objects, 4, NOW, settle=lambda: None)
    for day in DAYS[:2]:
        restore.restore_lake(stored_lake, day)
    after = contents(backed_up, [*TABLES, *CANDLES])
    assert all(frame.equals(before[name]) for name, frame in after.items())
    assert not dropped_days(backed_up)


def test_an_unverified_day_holds_back_itself_and_all_after_it(backed_up: QuestDB, objects: Objects) -> None:
    backed_up.write(BRONZE_TRADES, trades(DAYS[1], count=1, first_id=99_999))
    backed_up.wait_applied(["bronze_trades"])
    report = retention.apply(backed_up, objects, 3, NOW, settle=lambda: None)
    assert report.held_back == {"bronze_trades": [DAYS[1].isoformat()]}
    assert report.left["bronze_trades"] == [DAYS[0].isoformat()]
    assert report.left["bronze_quotes"] == [day.isoformat() for day in DAYS[:3]]


def test_a_row_that_slips_in_keeps_its_day(backed_up: QuestDB, objects: Objects) -> None:
    def late() -> None:
        backed_up.write(BRONZE_TRADES, trades(DAYS[1], count=1, first_id=99_999))
        backed_up.wait_applied(["bronze_trades"])

    report = retention.apply(backed_up, objects, 4, NOW, settle=late)
    assert report.left["bronze_trades"] == [DAYS[0].isoformat()]
    assert dropped_days(backed_up)["bronze_trades"] == {DAYS[0]}
    assert backed_up.rows("SELECT count() FROM bronze_trades WHERE trade_id = 99999") == [(1,)]


def test_nothing_leaves_without_the_setting_or_with_too_few_days(
    backed_up: QuestDB, objects: Objects, stored_lake: Settings
) -> None:
    before = contents(backed_up, TABLES)
    assert not retention.apply(backed_up, objects, 0, NOW).left
    with pytest.raises(NothingToDoError, match="RETENTION_DAYS=0"):
        retention.retain(stored_lake)
    assert all(frame.equals(before[name]) for name, frame in contents(backed_up, TABLES).items())
    with pytest.raises(FatalError, match="RETENTION_DAYS=2"):
        retention.apply(backed_up, objects, 2, NOW)
