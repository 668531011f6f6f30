"""A full disk, then room again, on a real QuestDB: what it halts is seen, and goes on with every row.

The disk is full for QuestDB alone: no file of it may grow any more (RLIMIT_FSIZE), which needs no privilege.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psutil
import pytest

from features.table import SILVER
from ingestion.consumer.table_resumer import TableResumer
from lakehouse.errors import LakeError
from lakehouse.schema import BRONZE_TRADES, TABLES
from lakehouse.settings import Settings
from lakehouse.stores.halted import HaltedTable, halted
from lakehouse.stores.questdb import QuestDB
from lakehouse.views import views
from stack.commands.lake_faults import lake_faults
from tests.integration.lakes import eventually
from tests.support.servers import LocalServers, running, scratch_settings

START = datetime(2026, 11, 1, tzinfo=UTC)
VIEWS = {"bronze_minutes", "gold_ohlc_1m", "gold_ohlc_5m", "gold_ohlc_15m", "gold_ohlc_1h", "gold_ohlc_1d"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServers]:
    settings = scratch_settings(Path(tmp_path_factory.mktemp("full")))
    with running(settings, "questdb") as servers:
        QuestDB(settings).migrate([*TABLES, SILVER], views(settings.feature_interval_ms))
        yield servers


@pytest.fixture
def database(server: LocalServers) -> Iterator[QuestDB]:
    database = QuestDB(server.settings)
    yield database
    database.close()


@contextmanager
def _full(server: LocalServers) -> Iterator[None]:
    process = psutil.Process(server.pid("questdb"))
    soft, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, (soft, hard))


def _write(database: QuestDB, day: int, count: int = 20_000) -> None:
    ts = [START + timedelta(days=day, milliseconds=10 * i) for i in range(count)]
    ids = [day * count + i + 1 for i in range(count)]
    columns = {"ts": ts, "trade_id": ids, "symbol": "BTC/USD", "price": 1.0, "qty": 1.0, "side": "buy", "source": "sim"}
    database.write(BRONZE_TRADES, pl.DataFrame(columns))


def _faults(database: QuestDB) -> str:
    return "\n".join(lake_faults(database, (), ("BTC/USD",), START))


def _resume_until_well(settings: Settings, database: QuestDB) -> None:
    resumer = TableResumer(settings, lambda: True, threading.Event())

    def well() -> bool:
        resumer.look(database)
        return halted(database) == []

    eventually(well)


def _sums(database: QuestDB) -> tuple[int, int, int]:
    """Rows of trades, and the trades that the first and the last view of the chain know of."""
    database.wait_applied([BRONZE_TRADES.name, *VIEWS])
    (rows,) = database.rows("SELECT count() FROM bronze_trades")[0]
    minutes, days = (
        database.rows(f"SELECT sum(trades) FROM {view}")[0][0] for view in ("bronze_minutes", "gold_ohlc_1d")
    )
    return rows, minutes or 0, days or 0


def test_a_lake_just_made_has_no_fault(database: QuestDB) -> None:
    tables = [row[0] for row in database.rows("SELECT table_name FROM tables()")]
    assert lake_faults(database, tables, ("BTC/USD",), datetime.now(UTC)) == []


def test_a_table_suspended_by_a_full_disk_is_told_and_goes_on_when_there_is_room(
    server: LocalServers, database: QuestDB
) -> None:
    _write(database, 0)
    written = [0]
    with _full(server):
        for day in (1, 2, 3):
            try:
                _write(database, day)
                written.append(day)
            except LakeError:
                continue
        eventually(lambda: any(one.name == "bronze_trades" for one in halted(database)))
        assert "ALTER TABLE bronze_trades RESUME WAL" in _faults(database)
    _resume_until_well(server.settings, database)
    for day in {1, 2, 3} - set(written):
        _write(database, day)
    eventually(lambda: _sums(database) == (80_000, 80_000, 80_000))
    assert _faults(database) == ""


def test_a_view_takes_another_statement_than_a_table(database: QuestDB) -> None:
    database.execute(HaltedTable("gold_ohlc_1d", True, "suspended", "").remedy)
    with pytest.raises(LakeError, match="cannot modify materialized view"):
        database.execute(HaltedTable("gold_ohlc_1d", False, "suspended", "").remedy)
