"""The restore drill on real servers: equal lakes pass, any planted difference fails, and nothing is left behind."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from downstream import backup, drill
from downstream.archive.tables import LAKE_TABLES
from downstream.restore import rebuild_views
from features.engine import EngineState, fold
from features.spec import EngineConfig, spec_hash
from features.table import SILVER
from lakehouse.errors import FatalError, NothingToDoError
from lakehouse.schema import BRONZE_QUOTES, BRONZE_TRADES, META_RETENTION
from lakehouse.settings import Settings
from lakehouse.stores import bronze
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB
from lakehouse.views import views
from tests.integration.days import SYMBOLS, quotes, trades

# Windows reach back over midnight, and a drill's day ends before the newest one.
DAY = datetime.now(UTC).date() - timedelta(days=2)
DAYS = [DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)]


def _in_log_order(symbol: str) -> pl.DataFrame:
    """Trades and quotes of all days as the log holds them: every event later than the one before it."""
    kinds = (
        pl.concat(trades(day, symbol, first_id=1 + 500 * n) for n, day in enumerate(DAYS)),
        pl.concat(quotes(day, symbol) for day in DAYS),
    )
    return (
        pl.concat(kinds, how="diagonal")
        .sort("ts", "trade_id", nulls_last=True)
        .with_columns(seq=pl.int_range(pl.len()))
    )


@pytest.fixture
def questdb(stored_lake: Settings) -> Iterator[QuestDB]:
    """Three days of live events and the silver rows they cause, with every table and view."""
    database = QuestDB(stored_lake)
    database.migrate((*LAKE_TABLES, META_RETENTION), views(stored_lake.feature_interval_ms))
    config = EngineConfig.of(stored_lake)
    start = datetime(DAYS[0].year, DAYS[0].month, DAYS[0].day, tzinfo=UTC)
    for symbol in SYMBOLS:
        events = _in_log_order(symbol)
        traded = pl.col("trade_id").is_not_null()
        for table, chosen in ((BRONZE_TRADES, events.filter(traded)), (BRONZE_QUOTES, events.filter(~traded))):
            database.write(table, chosen.select(name for name in table.names if name in events.columns))
        database.wait_applied([BRONZE_TRADES.name, BRONZE_QUOTES.name])
        state = EngineState.empty(config)
        for piece in bronze.live_between(database, symbol, start, start + timedelta(days=3)):
            state, rows = fold(state, piece)
            head = {"origin": pl.lit("live"), "spec": pl.lit(spec_hash(config)), "run": pl.lit(0, pl.Int64)}
            database.write(SILVER, rows.with_columns(**head))
    rebuild_views(database, stored_lake.feature_interval_ms)
    database.wait_applied([SILVER.name])
    yield database
    database.close()


def _scratch(questdb: QuestDB) -> list[str]:
    names = [name for (name,) in questdb.rows("SELECT table_name FROM tables()")]
    return [name for name in names if name.startswith(drill.PREFIX)]


def test_a_whole_day_comes_back_and_agrees(questdb: QuestDB, objects: Objects, stored_lake: Settings) -> None:
    with pytest.raises(NothingToDoError, match="no day of trades"):
        drill.run_drill(stored_lake)
    backup.run(questdb, objects, "simulator")
    before = datetime.now(UTC).timestamp()
    report = drill.run_drill(stored_lake, DAY)
    # Per symbol trades, quotes and silver.
    assert (report.day, report.files) == (DAY.isoformat(), 6)
    held = questdb.rows(f"SELECT count() FROM silver_features WHERE ts IN '{DAY}'")[0][0]
    assert report.rows == 2 * (500 + 300) + held
    assert report.candles == questdb.rows(f"SELECT count() FROM gold_ohlc_1m WHERE ts IN '{DAY}'")[0][0] > 500
    assert 20 < report.silver_rows < held
    assert _scratch(questdb) == []
    questdb.wait_applied(["gold_quality"])
    ((verified, files),) = questdb.rows("SELECT value, n FROM gold_quality WHERE measure = 'backup_verified'")
    assert verified >= before
    assert files == report.files


def test_tables_of_other_people_stay(questdb: QuestDB, objects: Objects, stored_lake: Settings) -> None:
    backup.run(questdb, objects, "simulator")
    mine = ("scratch_bronze_trades", f"{drill.PREFIX}notes")
    for name in mine:
        questdb.execute(f"CREATE TABLE {name} AS (SELECT * FROM bronze_trades LIMIT 5)")
    drill.run_drill(stored_lake, DAY)
    assert [questdb.rows(f"SELECT count() FROM {name}") for name in mine] == [[(5,)], [(5,)]]
    for name in mine:
        questdb.execute(f"DROP TABLE {name}")


def test_a_price_changed_in_the_live_table_fails_it(questdb: QuestDB, objects: Objects, stored_lake: Settings) -> None:
    backup.run(questdb, objects, "simulator")
    # Under its keys, so that no count and no sum of keys shows it.
    one = questdb.frame("SELECT * FROM bronze_trades WHERE symbol = 'BTC/USD' AND trade_id = 750")
    questdb.write(BRONZE_TRADES, one.with_columns(pl.col("price") + 1e-9))
    questdb.wait_applied([BRONZE_TRADES.name])
    with pytest.raises(FatalError, match="rows of bronze_trades differ from the 500 of the backup"):
        drill.run_drill(stored_lake, DAY)
    assert _scratch(questdb) == []
    assert questdb.rows("SELECT count() FROM gold_quality") == [(0,)]


def test_a_live_row_that_no_backup_holds_fails_it(questdb: QuestDB, objects: Objects, stored_lake: Settings) -> None:
    backup.run(questdb, objects, "simulator")
    questdb.write(BRONZE_TRADES, trades(DAY, "SOL/USD", 1))
    questdb.wait_applied([BRONZE_TRADES.name])
    with pytest.raises(FatalError, match=r"not fully backed up, e\.g\. bronze/bronze_trades/symbol=SOL%2FUSD"):
        drill.run_drill(stored_lake, DAY)


def test_a_feature_row_that_its_events_do_not_give_fails_it(
    questdb: QuestDB, objects: Objects, stored_lake: Settings
) -> None:
    wrong = questdb.frame(f"SELECT * FROM silver_features WHERE ts IN '{DAY}' AND symbol = 'BTC/USD' LIMIT -20")
    questdb.write(SILVER, wrong[:1].with_columns(pl.col("last") * (1 + 1e-8)))
    questdb.wait_applied([SILVER.name])
    # Backup and live table agree; only making the row anew can tell.
    backup.run(questdb, objects, "simulator")
    with pytest.raises(FatalError, match=r"1 of .* silver rows of BTC/USD"):
        drill.run_drill(stored_lake, DAY)
    assert _scratch(questdb) == []


def test_candles_that_these_trades_do_not_give_fail_it(questdb: QuestDB) -> None:
    questdb.execute(
        f"CREATE TABLE {drill.PREFIX}bronze_trades AS "
        f"(SELECT * FROM bronze_trades WHERE ts IN '{DAY}' AND trade_id != 750) TIMESTAMP(ts) PARTITION BY DAY"
    )
    questdb.wait_applied([f"{drill.PREFIX}bronze_trades"])
    # One trade of each symbol is gone, and with it a candle or its volume.
    with pytest.raises(FatalError, match=rf"2 of .* candles of {DAY} differ"):
        drill._compare_candles(questdb, DAY)
