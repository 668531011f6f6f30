"""A lake made by version 0.1 is brought to this version with its rows; a newer lake is refused."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.table import SILVER
from lakehouse.errors import FatalError
from lakehouse.schema import BRONZE_TRADES, SCHEMA_VERSION, TABLES
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB
from lakehouse.views import views
from tests.integration.consuming import consuming, market, migrated, send, table, wait_done
from tests.integration.days import trades
from tests.integration.lakes import eventually

# The tables and views as version 0.1 made them.
OLD_DDL = Path(__file__).parents[1] / "data" / "lake-0.1.sql"
DAY = datetime.now(UTC).date() - timedelta(days=2)


@pytest.fixture
def old_lake(fresh_lake: Settings) -> Iterator[QuestDB]:
    """A lake of version 0.1 with a day of trades, and with the candle view and the keys of an even older one."""
    questdb = QuestDB(fresh_lake)
    for statement in OLD_DDL.read_text().splitlines():
        questdb.execute(statement)
    for view in ("1d", "1h", "15m", "5m", "1m"):
        questdb.execute(f"DROP MATERIALIZED VIEW gold_ohlc_{view}")
    questdb.execute(
        "CREATE MATERIALIZED VIEW gold_ohlc_1m WITH BASE bronze_trades REFRESH IMMEDIATE AS "
        "(SELECT ts, symbol, max(price) high FROM bronze_trades SAMPLE BY 1m) PARTITION BY DAY"
    )
    questdb.execute("ALTER TABLE bronze_trades DEDUP ENABLE UPSERT KEYS(ts, symbol)")
    questdb.write(BRONZE_TRADES, trades(DAY, count=500))
    questdb.wait_applied([BRONZE_TRADES.name])
    yield questdb
    questdb.close()


def _migrate(questdb: QuestDB) -> list[str]:
    return questdb.migrate([*TABLES, SILVER], views(1000))


def test_an_old_lake_keeps_its_rows_and_gets_todays_definitions(old_lake: QuestDB) -> None:
    before = old_lake.rows("SELECT count(), sum(price) FROM bronze_trades")
    changed = "\n".join(_migrate(old_lake))
    assert "created table meta_positions" in changed
    assert "made view gold_ohlc_1m anew" in changed
    assert "bronze_trades: rows are the same by ts, symbol, trade_id" in changed
    assert f"schema {SCHEMA_VERSION}" in changed
    assert old_lake.rows("SELECT count(), sum(price) FROM bronze_trades") == before
    keys = {name for (name,) in old_lake.rows("SELECT \"column\" FROM table_columns('bronze_trades') WHERE upsertKey")}
    assert keys == set(BRONZE_TRADES.keys)
    counted = "SELECT sum(trades) FROM gold_ohlc_1d"
    eventually(lambda: old_lake.rows(counted)[0][0] == before[0][0])
    assert _migrate(old_lake) == []


def test_the_consumer_goes_on_in_an_old_lake(old_lake: QuestDB, fresh_lake: Settings) -> None:
    held = old_lake.rows("SELECT count() FROM bronze_trades")[0][0]
    migrated(fresh_lake)
    send(fresh_lake, market("ETH/USD", 200))
    with consuming(fresh_lake) as errors:
        wait_done(fresh_lake)
    assert not errors
    assert table(fresh_lake, "bronze_trades", "ts").height > held


def test_a_newer_lake_is_refused_before_anything_is_changed(old_lake: QuestDB) -> None:
    _migrate(old_lake)
    old_lake.execute(f"INSERT INTO meta_versions (ts, version) VALUES (now(), {SCHEMA_VERSION + 1})")
    old_lake.wait_applied(["meta_versions"])
    old_lake.execute("DROP TABLE meta_runs")
    with pytest.raises(FatalError, match=f"newer version .schema {SCHEMA_VERSION + 1}; .*update the code"):
        _migrate(old_lake)
    assert not old_lake.rows("SELECT table_name FROM tables() WHERE table_name = 'meta_runs'")


def test_a_column_of_another_type_is_refused_with_the_remedy(old_lake: QuestDB) -> None:
    old_lake.execute("ALTER TABLE gold_quality ALTER COLUMN detail TYPE SYMBOL")
    old_lake.wait_applied(["gold_quality"])
    with pytest.raises(FatalError, match=r"gold_quality\.detail is SYMBOL, this version needs VARCHAR: restore"):
        _migrate(old_lake)
