"""Training, the scorer and a Dask worker give a row the same truth, on a real lake whose producer was away."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from downstream import backup, forecast_rows
from features.engine import EngineState, fold
from features.spec import EngineConfig, spec_hash
from features.table import SILVER
from forecast import score
from forecast.data import lake_reader
from forecast.data.dataset import Dataset
from forecast.training.distributed import DayPartition, read_day
from lakehouse.messages import EVENT_SCHEMA
from lakehouse.records import Forecast
from lakehouse.schema import GOLD_FORECASTS, GOLD_VIEWS, TABLES
from lakehouse.settings import HORIZONS_S, Settings
from lakehouse.stores import bronze
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB
from lakehouse.views import views
from stack.envfile import child_environment

SYMBOL = "BTC/USD"
DAY = date(2026, 1, 6)
MIDNIGHT = datetime(2026, 1, 6, tzinfo=UTC)
# From two hours before midnight on, so that the day begins with prices in force.
BEFORE_S, AFTER_S = 7200, 7200
AWAY = range(BEFORE_S + 3000, BEFORE_S + 3200)


def _market() -> pl.DataFrame:
    """A quote each second, a trade every other one; of 200 s of absence REST brings the trades, not the quotes."""
    rng = np.random.default_rng(7)
    mids = 100 * np.exp(np.cumsum(rng.normal(0, 2e-4, BEFORE_S + AFTER_S)))
    events: list[dict[str, object]] = []
    for second, mid in enumerate(mids):
        ts = MIDNIGHT + timedelta(seconds=second - BEFORE_S)
        if second == AWAY.start:
            # Its time is that of the last quote before it.
            events.append({"type": "gap", "stream": "ticker", "reason": "reconnect", "ts": events[-1]["ts"]})
        if second not in AWAY:
            events.append({"type": "quote", "ts": ts, "bid": mid - 0.05, "ask": mid + 0.05})
        if second % 2 == 0:
            trade = {
                "type": "trade",
                "ts": ts - timedelta(milliseconds=300),
                "price": mid,
                "qty": 1.0,
                "trade_id": second // 2 + 1,
            }
            events.insert(len(events) - 1, trade | {"side": "sell" if second % 4 else "buy"})
    common = {"symbol": SYMBOL, "source": "sim", "epoch": 1}
    rows = [{name: (common | event).get(name) for name in EVENT_SCHEMA} for event in events]
    frame = pl.DataFrame(rows, schema=EVENT_SCHEMA, infer_schema_length=None)
    return frame.with_columns(seq=pl.int_range(pl.len(), dtype=pl.Int64), received_at=pl.col("ts"))


@pytest.fixture
def served(stored_lake: Settings, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, QuestDB]:
    """The market in bronze and its rows in silver, both backed up."""
    for name, value in child_environment(stored_lake).items():
        monkeypatch.setenv(name, value)
    questdb, objects, config = QuestDB(stored_lake), Objects(stored_lake), EngineConfig.of(stored_lake)
    questdb.migrate((*TABLES, SILVER), (*views(stored_lake.feature_interval_ms), *GOLD_VIEWS))
    events = _market()
    for table in TABLES:
        if table.name in bronze.TABLES:
            mine = events.filter(pl.col("type") == bronze.TABLES[table.name]).with_columns(origin=pl.lit("live"))
            questdb.write(table, mine.select(name for name in table.names if name in mine.columns))
    _, rows = fold(EngineState.empty(config), events)
    head = {"origin": pl.lit("live"), "spec": pl.lit(spec_hash(config)), "run": pl.lit(0, pl.Int64)}
    questdb.write(SILVER, rows.with_columns(**head))
    questdb.wait_applied([*bronze.TABLES, SILVER.name])
    tables = [table for table in TABLES if table.name in bronze.TABLES]
    backup.run(questdb, objects, stored_lake.source, tables=[*tables, SILVER])
    objects.close()
    return stored_lake, questdb


def test_training_scoring_and_dask_agree_on_what_happened(served: tuple[Settings, QuestDB]) -> None:
    settings, questdb = served
    end = MIDNIGHT + timedelta(days=1)
    spec = spec_hash(EngineConfig.of(settings))
    trained = lake_reader.read(questdb, SYMBOL, MIDNIGHT, end, spec, settings.vol_step_s)
    assert len(trained) > 200
    near = trained.ts >= int((MIDNIGHT + timedelta(seconds=AWAY.start - BEFORE_S - 300)).timestamp()) * 1_000_000
    assert near.any(), "some rows lie before or in the gap"
    _assert_same(trained, read_day(f"s3://{settings.s3_bucket}", DayPartition(SYMBOL, DAY)))
    _assert_scored(questdb, settings, trained)


def _assert_same(found: Dataset, expected: Dataset) -> None:
    shared = np.isin(found.ts, expected.ts)
    assert shared.all()
    rows = np.searchsorted(expected.ts, found.ts)
    for target in ("bid", "vol"):
        np.testing.assert_array_equal(found.truth[target], expected.truth[target][rows])


def _assert_scored(questdb: QuestDB, settings: Settings, trained: Dataset) -> None:
    names = {"model_version": "vol/1", "spec": "abc", "calibration": "def", "epoch": 1, "latency_ms": 1.0}
    ends = {"lower": 0.0, "upper": 1.0, "lower_95": 0.0, "upper_95": 1.0, "baseline": 0.001}
    stamps = pl.Series(trained.ts).cast(pl.Datetime("us", "UTC"))
    made = [
        Forecast(ts, SYMBOL, target, horizon, 0.001, **ends, **names, seq=seq)  # type: ignore[arg-type]
        for seq, ts in enumerate(stamps)
        for target in ("bid", "vol")
        for horizon in HORIZONS_S
    ]
    questdb.write(GOLD_FORECASTS, forecast_rows.frame(made))
    questdb.wait_applied([GOLD_FORECASTS.name])
    score.Scorer(questdb, settings.vol_step_s).score(SYMBOL)
    questdb.wait_applied(["gold_forecast_scores"])
    found = questdb.frame("SELECT ts, target, horizon_s, truth FROM gold_forecast_scores ORDER BY ts, horizon_s")
    assert found.height > len(trained) * len(HORIZONS_S)
    known = {(int(ts), h): i for i, ts in enumerate(trained.ts) for h in HORIZONS_S}
    for target in ("bid", "vol"):
        part = found.filter(pl.col("target") == target)
        expected = [
            trained.truth[target][known[ts, h], HORIZONS_S.index(h)]
            for ts, h in zip(part["ts"].to_physical(), part["horizon_s"], strict=True)
        ]
        np.testing.assert_array_equal(part["truth"].to_numpy(), expected)
