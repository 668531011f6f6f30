"""Backups against a real QuestDB and object store: layout, idempotence, late rows, half-written parts, refusals."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from minio import Minio

from downstream import backup
from downstream.archive.archive import backed_up, check, load, read_manifest
from downstream.archive.manifest import DayFile, Manifest
from downstream.backup import BackupReport, ExportUnit
from lakehouse.errors import FatalError, RetryableError
from lakehouse.schema import BRONZE_TRADES
from lakehouse.settings import Settings
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB
from stack.servers import buckets
from stack.servers.object_store import NAME
from tests.integration.days import contents, fill, trades
from tests.support.servers import LocalServers

DAYS = [date(2026, 1, 5), date(2026, 1, 6)]
BTC = DayFile("bronze_trades", "bronze", DAYS[0], "BTC/USD")


@pytest.fixture
def questdb(stored_lake: Settings) -> Iterator[QuestDB]:
    """The emptied lake, filled with two days."""
    database = QuestDB(stored_lake)
    fill(database, stored_lake, DAYS)
    yield database
    database.close()


def _run(questdb: QuestDB, objects: Objects, **more: Any) -> BackupReport:
    return backup.run(questdb, objects, "simulator", **more)


def test_every_whole_day_lies_where_the_layout_says_with_a_manifest_that_fits(
    questdb: QuestDB, objects: Objects
) -> None:
    report = _run(questdb, objects)
    # Two days of two symbols in three tables, and the one epoch.
    assert (report.written, report.unchanged, report.last_day) == (13, 0, "2026-01-06")
    key = "bronze/bronze_trades/symbol=BTC%2FUSD/dt=2026-01-05/part-0.parquet"
    assert BTC.data_key == key
    manifest = read_manifest(objects, BTC)
    assert manifest is not None
    rows = load(objects, BTC, manifest)
    wanted = trades(DAYS[0])
    assert rows.select(wanted.columns).equals(wanted.sort("ts", "symbol", "trade_id"))
    assert rows.columns == list(BRONZE_TRADES.names)
    assert (manifest.rows, manifest.first_trade_id, manifest.last_trade_id) == (500, 1, 500)
    assert manifest.first_ts == wanted["ts"].min().strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # type: ignore[union-attr]
    assert len(list(backed_up(objects))) == report.written


def test_other_engines_read_the_files(questdb: QuestDB, objects: Objects, tmp_path: Any) -> None:
    _run(questdb, objects)
    for part in backed_up(objects):
        path = tmp_path / part.data_key
        path.parent.mkdir(parents=True)
        path.write_bytes(objects.get(part.data_key) or b"")
    found = pq.read_table(tmp_path / "bronze/bronze_trades", partitioning=None)
    assert found.num_rows == questdb.rows("SELECT count() FROM bronze_trades")[0][0]
    hive = pl.scan_parquet(tmp_path / "bronze/bronze_trades", hive_partitioning=True).filter(dt=DAYS[1])
    assert sorted(hive.select("symbol").unique().collect()["symbol"]) == ["BTC/USD", "ETH/USD"]


def test_a_second_run_changes_nothing_and_a_late_row_only_its_part(questdb: QuestDB, objects: Objects) -> None:
    first = _run(questdb, objects)
    again = _run(questdb, objects)
    assert (again.written, again.unchanged) == (0, first.written)
    late = trades(DAYS[0], "ETH/USD", 1, first_id=9_999)
    questdb.write(BRONZE_TRADES, late)
    report = _run(questdb, objects)
    assert (report.written, report.rows, report.unchanged) == (1, 501, first.written - 1)
    manifest = read_manifest(objects, replace(BTC, symbol="ETH/USD"))
    assert manifest is not None
    assert manifest.last_trade_id == 9_999


def test_a_day_that_was_missed_is_caught_up_and_today_is_left_out(questdb: QuestDB, objects: Objects) -> None:
    one = _run(questdb, objects, day=DAYS[1])
    assert one.written == 6
    # The wall clock says that the second day is still running: only the first and the epoch are whole.
    assert _run(questdb, objects, today=DAYS[1]).written == 7
    with pytest.raises(FatalError, match="not ended"):
        _run(questdb, objects, day=datetime.now(UTC).date())


def test_equal_rows_give_equal_bytes(questdb: QuestDB, objects: Objects) -> None:
    _run(questdb, objects)
    first = {part: read_manifest(objects, part) for part in backed_up(objects)}
    # The same rows in another order of arrival, after another symbol: other numbers inside the server's tables.
    questdb.execute("TRUNCATE TABLE bronze_trades")
    questdb.wait_applied(["bronze_trades"])
    questdb.write(BRONZE_TRADES, trades(DAYS[0] - timedelta(days=1), "ADA/USD"))
    for day, first_id in ((DAYS[1], 501), (DAYS[0], 1)):
        for symbol in ("ETH/USD", "BTC/USD"):
            questdb.write(BRONZE_TRADES, trades(day, symbol, first_id=first_id).reverse())
    questdb.wait_applied(["bronze_trades"])
    for part in (part for part in first if part.table == "bronze_trades"):
        before = first[part]
        assert before is not None
        (again,) = backup.export(questdb, objects, BRONZE_TRADES, [ExportUnit((part,), whole=False)])
        assert again.sha256 == before.sha256


def test_data_without_its_manifest_is_not_taken_for_a_backup(questdb: QuestDB, objects: Objects) -> None:
    objects.put(BTC.data_key, b"half of a file")
    assert not list(backed_up(objects))
    _run(questdb, objects)
    manifest = read_manifest(objects, BTC)
    assert manifest is not None
    assert load(objects, BTC, manifest).height == 500


def test_a_write_that_stopped_before_the_manifest_leaves_the_old_backup_whole(
    questdb: QuestDB, objects: Objects
) -> None:
    _run(questdb, objects)
    objects.put(BTC.data_key, b"a newer, half-written version")
    manifest = read_manifest(objects, BTC)
    assert manifest is not None
    assert load(objects, BTC, manifest).height == 500
    # Where no versions are kept, the sum tells.
    with pytest.raises(FatalError, match="sha256"):
        load(objects, BTC, replace(manifest, version=None))


def test_fewer_rows_than_the_backup_never_replace_it(questdb: QuestDB, objects: Objects) -> None:
    _run(questdb, objects)
    questdb.execute("ALTER TABLE bronze_trades DROP PARTITION LIST '2026-01-05'")
    questdb.wait_applied(["bronze_trades"])
    questdb.write(BRONZE_TRADES, trades(DAYS[0], count=3, first_id=7_000))
    with pytest.raises(FatalError, match=r"tradelake restore --day 2026-01-05"):
        _run(questdb, objects)


def _bad_version(objects: Objects, stored_lake: Settings, part: DayFile, manifest: Manifest) -> None:
    objects.put(part.data_key, b"bits that somebody else wrote")


def _version_rotted(objects: Objects, stored_lake: Settings, part: DayFile, manifest: Manifest) -> None:
    objects.put(part.manifest_key, replace(manifest, sha256="0" * 64).dump())


def _deleted(objects: Objects, stored_lake: Settings, part: DayFile, manifest: Manifest) -> None:
    _root(stored_lake).remove_object(stored_lake.s3_bucket, part.data_key)


def _version_deleted(objects: Objects, stored_lake: Settings, part: DayFile, manifest: Manifest) -> None:
    _root(stored_lake).remove_object(stored_lake.s3_bucket, part.data_key, version_id=manifest.version)


def _root(settings: Settings) -> Minio:
    password = settings.s3_admin_password.get_secret_value()
    return Minio(settings.s3_address, settings.s3_admin_user, password, secure=False, region="us-east-1")


@pytest.mark.parametrize("damage", [_bad_version, _version_rotted, _deleted, _version_deleted])
def test_a_damaged_file_of_the_newest_day_is_written_anew(
    questdb: QuestDB, objects: Objects, stored_lake: Settings, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _run(questdb, objects)
    newest = replace(BTC, day=DAYS[1])
    before = read_manifest(objects, newest)
    assert before is not None
    damage(objects, stored_lake, newest, before)
    report = _run(questdb, objects)
    assert (report.written, report.unchanged) == (1, 12)
    assert f"{newest.data_key}" in caplog.text
    after = read_manifest(objects, newest)
    assert after is not None
    assert after.sha256 == before.sha256
    check(objects, newest, after)
    assert _run(questdb, objects).written == 0


def test_a_damaged_file_that_only_the_backup_has_fails_the_run(
    questdb: QuestDB, objects: Objects, stored_lake: Settings
) -> None:
    _run(questdb, objects)
    questdb.execute("DROP TABLE bronze_trades")
    backup.back_up(stored_lake)
    newest = replace(BTC, day=DAYS[1])
    manifest = read_manifest(objects, newest)
    assert manifest is not None
    _version_rotted(objects, stored_lake, newest, manifest)
    questdb.wait_applied(["gold_quality"])
    noted = "SELECT max(value) FROM gold_quality WHERE measure = 'backup_verified'"
    before = questdb.rows(noted)
    with pytest.raises(FatalError, match="sha256"):
        backup.back_up(stored_lake)
    questdb.wait_applied(["gold_quality"])
    assert questdb.rows(noted) == before


def test_another_market_is_refused(questdb: QuestDB, objects: Objects) -> None:
    _run(questdb, objects)
    with pytest.raises(FatalError, match="holds backups of simulator"):
        backup.run(questdb, objects, "kraken")


def test_the_object_store_killed_in_the_middle_is_repaired_by_the_next_run(
    questdb: QuestDB, objects: Objects, stored_lake: Settings, servers: LocalServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = threading.Event()
    put = Objects.put

    def then_kill(self: Objects, key: str, data: bytes, content_type: str = "") -> Any:
        stored = put(self, key, data, content_type)
        if key.endswith(".parquet") and not written.is_set():
            written.set()
            servers.kill(NAME)
        return stored

    monkeypatch.setattr(Objects, "put", then_kill)
    with pytest.raises(RetryableError):
        _run(questdb, objects)
    monkeypatch.undo()
    servers.start(NAME)
    buckets.ensure(stored_lake)
    whole = len(list(backed_up(objects)))
    report = _run(questdb, objects)
    assert whole < report.written + report.unchanged == 13
    for part in backed_up(objects):
        manifest = read_manifest(objects, part)
        assert isinstance(manifest, Manifest)
        assert load(objects, part, manifest).height == manifest.rows


def test_a_backup_is_noted_for_the_metrics(questdb: QuestDB, stored_lake: Settings) -> None:
    before = datetime.now(UTC).timestamp()
    backup.back_up(stored_lake)
    questdb.wait_applied(["gold_quality"])
    value, files = questdb.rows("SELECT value, n FROM gold_quality WHERE measure = 'backup_verified'")[0]
    assert before <= value <= datetime.now(UTC).timestamp()
    assert files == 13
    assert contents(questdb, ["gold_quality"])["gold_quality"].height == 1
