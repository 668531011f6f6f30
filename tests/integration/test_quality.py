"""The hourly check and the replay against a real lake: figures from rows, a champion moved back, differences found."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from features.engine import EngineState, fold
from features.spec import NAMES, EngineConfig, spec_hash
from features.table import SILVER
from forecast import quality, replay
from forecast.data import lake_reader
from forecast.monitoring import drift
from forecast.page.queries import Queries
from forecast.registry.client import RegistryClient
from forecast.serving.registry_watcher import simple_rule
from lakehouse.errors import FatalError
from lakehouse.schema import BRONZE_TRADES, GOLD_FORECAST_SCORES, GOLD_FORECASTS, TABLES
from lakehouse.settings import HORIZONS_S, Settings
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB
from lakehouse.views import views
from tests.integration.days import UTC_US, trades
from tests.integration.lakes import eventually

NOW = datetime.now(UTC)
DAY = NOW.date() - timedelta(days=1)
BTC = ("BTC/USD",)


@pytest.fixture
def questdb(fresh_lake: Settings) -> Iterator[QuestDB]:
    """An emptied lake with every table and view."""
    database = QuestDB(fresh_lake)
    database.migrate((*TABLES, SILVER), views(fresh_lake.feature_interval_ms))
    yield database
    database.close()


def _config(settings: Settings) -> EngineConfig:
    return EngineConfig.of(settings)


def _serve_a_day(questdb: QuestDB, settings: Settings) -> pl.DataFrame:
    """Trades of a day in bronze, the live rows they cause in silver, and a forecast of each row in gold.

    The day ends with an outage: its last trade was refilled after the next day's first had come, and caused no row.
    """
    day = trades(DAY, count=402)
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1)
    late = pl.Series([*day["ts"][:-2], midnight + timedelta(minutes=30), midnight - timedelta(milliseconds=1)])
    questdb.write(BRONZE_TRADES, day.with_columns(ts=late.cast(day["ts"].dtype)))
    questdb.wait_applied([BRONZE_TRADES.name])
    config = _config(settings)
    found = []
    state = EngineState.empty(config)
    start = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    for piece in bronze.live_between(questdb, BTC[0], start, start + timedelta(days=2)):
        state, rows = fold(state, piece)
        found.append(rows)
    head = {"origin": pl.lit("live"), "spec": pl.lit(spec_hash(config)), "run": pl.lit(0, pl.Int64)}
    silver = pl.concat(found).with_columns(**head)
    questdb.write(SILVER, silver)
    silver = silver.filter(pl.col("ts") < midnight)
    rule = simple_rule("bid", NAMES, spec_hash(config))
    made = rule.forecast(silver.select(NAMES).to_numpy())
    for i, horizon in enumerate(HORIZONS_S):
        values = {name: pl.Series(getattr(made, name)[:, i]) for name in made._fields}
        labels = {"target": "bid", "model_version": "bid/0", "calibration": rule.calibration.id}
        forecasts = silver.select("ts", "symbol", "epoch", "seq", "spec").with_columns(
            horizon_s=pl.lit(horizon, pl.Int32), **values, **{k: pl.lit(v) for k, v in labels.items()}
        )
        questdb.write(GOLD_FORECASTS, forecasts)
    questdb.wait_applied([SILVER.name, GOLD_FORECASTS.name])
    return silver


def test_replay_equals_live_and_a_changed_row_shows(questdb: QuestDB, fresh_lake: Settings) -> None:
    silver = _serve_a_day(questdb, fresh_lake)
    (clean,) = replay.replay_day(fresh_lake, BTC, DAY)
    assert (clean.silver, clean.silver_differ) == (silver.height, 0)
    assert (clean.forecasts, clean.forecasts_differ) == (silver.height * len(HORIZONS_S), 0)

    changed = silver[10:11].with_columns(pl.col("last") * (1 + 1e-7))
    questdb.write(SILVER, changed)
    questdb.write(BRONZE_TRADES, trades(DAY, count=400)[-1:].with_columns(trade_id=pl.lit(9_999), seq=pl.lit(9_999)))
    questdb.wait_applied([SILVER.name, BRONZE_TRADES.name])
    (report,) = replay.replay_day(fresh_lake, BTC, DAY)
    assert report.silver_differ >= 1
    questdb.wait_applied(["gold_quality"])
    noted = questdb.rows("SELECT value, n FROM gold_quality WHERE measure = 'replay_differing' ORDER BY ts")
    assert [value for value, _ in noted] == [0, report.silver_differ + report.forecasts_differ]


def test_the_check_measures_the_feed_and_refuses_an_empty_lake(
    questdb: QuestDB, fresh_lake: Settings, mlflow_lake: Settings
) -> None:
    with pytest.raises(FatalError, match="holds no rows"):
        quality.check(fresh_lake, BTC, NOW)
    with pytest.raises(FatalError, match="no new rows"):
        quality.check_feed(fresh_lake, BTC, NOW)
    ids = trades(NOW.date(), count=3).with_columns(ts=pl.lit(NOW - timedelta(minutes=5)), trade_id=pl.Series([1, 2, 6]))
    questdb.write(BRONZE_TRADES, ids.with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC"))))
    # The ledger's minutes are a materialized view, which follows its table a moment later.
    eventually(lambda: questdb.rows("SELECT count() FROM bronze_completeness")[0][0])
    found = {(f.measure, f.detail): f for f in quality.check(fresh_lake, BTC, NOW)}
    assert found["freshness_s", "bronze_trades"].value == pytest.approx(300, abs=1)
    assert found["holes", None].value == 3


def test_ids_that_two_minutes_share_are_not_missing(questdb: QuestDB) -> None:
    minute = NOW.replace(second=0, microsecond=0) - timedelta(minutes=5)
    ids = [*range(1, 9), 10, 9, 11, 12, 15]
    at = [minute + timedelta(seconds=30 if i < 9 else 90) for i in range(len(ids))]
    rows = trades(DAY, count=len(ids)).with_columns(trade_id=pl.Series(ids), ts=pl.Series(at, dtype=UTC_US))
    questdb.write(BRONZE_TRADES, rows)
    questdb.write(BRONZE_TRADES, rows[9:12].with_columns(symbol=pl.lit("ETH/USD"), trade_id=pl.Series([8, 11, 12])))
    missing = {"BTC/USD": 2, "ETH/USD": 2}
    eventually(lambda: {row["symbol"]: row["missing"] for row in Queries(questdb).feed()} == missing)
    assert [quality.feed_findings(questdb, s, NOW)[-1].value for s in ("BTC/USD", "ETH/USD")] == [2, 2]


def test_drift_is_told_against_the_rows_the_champion_was_trained_on(
    questdb: QuestDB, fresh_lake: Settings, registry: RegistryClient, tmp_path: Path
) -> None:
    # Rows are complete from the second hour on.
    start = NOW.replace(microsecond=0, second=0) - timedelta(hours=4, minutes=15)
    ts = pl.Series([start + timedelta(seconds=10 * i) for i in range(1500)], dtype=pl.Datetime("us", "UTC"))
    events = trades(DAY, count=1500).with_columns(ts=ts, received_at=ts)
    questdb.write(BRONZE_TRADES, events)
    questdb.wait_applied([BRONZE_TRADES.name])
    config = _config(fresh_lake)
    (piece,) = bronze.live_between(questdb, BTC[0], start, NOW)
    head = {"origin": pl.lit("live"), "spec": pl.lit(spec_hash(config)), "run": pl.lit(0, pl.Int64)}
    questdb.write(SILVER, fold(EngineState.empty(config), piece)[1].with_columns(**head))
    questdb.wait_applied([SILVER.name])

    recent = lake_reader.read(questdb, BTC[0], start, NOW, spec_hash(config), fresh_lake.vol_step_s)
    trained = recent.matrix.copy()
    trained[:, NAMES.index("volume_1h")] *= 2
    (tmp_path / drift.FILE).write_text(drift.dump(drift.shape(replace(recent, matrix=trained))))
    version = registry.register(simple_rule("vol", NAMES, spec_hash(config)), artifacts=tmp_path)
    registry.promote("vol", version, "for the test")
    found = {f.feature: f for f in quality.check(fresh_lake, BTC, NOW) if f.measure == "psi"}
    assert {f.target for f in found.values()} == {"vol"}
    assert found["volume_1h"].value > 1
    assert found["ret_5m"].value == pytest.approx(0.0, abs=1e-9)
    assert found["volume_1h"].n == len(recent) > quality.MIN_ROWS


def test_a_champion_that_stays_worse_than_its_rule_is_moved_back(
    questdb: QuestDB, fresh_lake: Settings, registry: RegistryClient
) -> None:
    first = registry.champion("vol")
    rule = simple_rule("vol", NAMES, spec_hash(_config(fresh_lake)))
    second = registry.register(rule)
    registry.promote("vol", second, "for the test")
    hours = fresh_lake.quality_span_hours
    top = NOW.replace(minute=0, second=0, microsecond=0)
    ts = [top - timedelta(hours=h) + timedelta(seconds=s) for h in range(1, hours + 1) for s in range(150)]
    questdb.write(
        GOLD_FORECAST_SCORES,
        pl.DataFrame({"ts": ts}, schema={"ts": pl.Datetime("us", "UTC")}).with_columns(
            symbol=pl.lit(BTC[0]),
            target=pl.lit("vol"),
            horizon_s=pl.lit(60, pl.Int32),
            epoch=pl.lit(1, pl.Int64),
            model_version=pl.lit(f"vol/{second}"),
            loss=pl.lit(1.1),
            baseline_loss=pl.lit(1.0),
            inside_80=pl.lit(True),
            inside_95=pl.lit(True),
            seq=pl.int_range(pl.len()),
        ),
    )
    questdb.write(BRONZE_TRADES, trades(NOW.date() - timedelta(days=1), count=3))
    questdb.wait_applied([GOLD_FORECAST_SCORES.name, BRONZE_TRADES.name])
    found = quality.check(fresh_lake, BTC, NOW)
    assert [f.target for f in found if f.measure == "rollback"] == ["vol"]
    assert registry.champion("vol") == first
