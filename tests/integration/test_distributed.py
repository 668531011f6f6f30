"""Training over the lake's Parquet: a local Dask cluster of two workers gives the figures of a run in one process."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from downstream import backup
from features.engine import EngineState, fold
from features.spec import EngineConfig, spec_hash
from features.table import SILVER
from forecast.training import distributed
from forecast.training.fitting import Tuning
from lakehouse.errors import FatalError
from lakehouse.messages import EVENT_SCHEMA
from lakehouse.schema import BRONZE_TRADES
from lakehouse.settings import HORIZONS_S, Settings
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB
from stack.envfile import child_environment

DAYS = (date(2026, 1, 5), date(2026, 1, 6))
SYMBOL = ("BTC/USD",)
PER_DAY = 12_000
# Without random samples, what is left to differ is how the workers sketch quantiles.
SMALL = Tuning(trees=20, depth=3, leaf_rows=2.0, ridge=0.7, row_share=1.0, column_share=1.0)


def _day(number: int, day: date) -> pl.DataFrame:
    """A trade each second for some hours, calm and wild by turns."""
    rng = np.random.default_rng(number)
    spread = np.where(np.arange(PER_DAY) // 900 % 2, 4e-4, 1e-4)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    at = pl.Series([start + timedelta(seconds=second) for second in range(PER_DAY)], dtype=pl.Datetime("us", "UTC"))
    ids = np.arange(PER_DAY) + number * PER_DAY + 1
    known = pl.DataFrame(
        {
            "ts": at,
            "received_at": at,
            "trade_id": ids,
            "price": 100 * np.exp(np.cumsum(rng.normal(0, spread))),
            "qty": rng.exponential(1.0, PER_DAY),
            "side": rng.choice(["buy", "sell"], PER_DAY),
            "seq": ids,
        }
    ).with_columns(type=pl.lit("trade"), symbol=pl.lit(SYMBOL[0]), source=pl.lit("sim"), epoch=pl.lit(1))
    missing = [pl.lit(None).alias(name) for name in EVENT_SCHEMA if name not in known.columns]
    return known.with_columns(missing).select(pl.col(c).cast(kind) for c, kind in EVENT_SCHEMA.items())


@pytest.fixture
def parquet_lake(stored_lake: Settings) -> str:
    """The address of a bucket with two days of trades and the rows they cause."""
    questdb, objects = QuestDB(stored_lake), Objects(stored_lake)
    questdb.migrate([BRONZE_TRADES, SILVER], ())
    config = EngineConfig.of(stored_lake)
    state = EngineState.empty(config)
    for number, day in enumerate(DAYS):
        events = _day(number, day)
        state, rows = fold(state, events)
        names = [name for name in BRONZE_TRADES.names if name in events.columns]
        questdb.write(BRONZE_TRADES, events.select(names).with_columns(origin=pl.lit("live")))
        head = {"origin": pl.lit("live"), "spec": pl.lit(spec_hash(config)), "run": pl.lit(0, pl.Int64)}
        questdb.write(SILVER, rows.with_columns(**head))
    backup.run(questdb, objects, stored_lake.source, tables=[BRONZE_TRADES, SILVER])
    questdb.close()
    objects.close()
    return f"s3://{stored_lake.s3_bucket}"


def test_two_workers_give_the_figures_of_one_process(
    parquet_lake: str, stored_lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import LocalCluster

    for name, value in child_environment(stored_lake).items():
        monkeypatch.setenv(name, value)
    here = distributed.train(parquet_lake, None, SYMBOL, SMALL)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        there = distributed.train(parquet_lake, cluster.scheduler_address, SYMBOL, SMALL)
    for target in ("bid", "vol"):
        assert list(here[target]) == [str(horizon) for horizon in HORIZONS_S]
        for horizon, ratio in here[target].items():
            assert there[target][horizon] == pytest.approx(ratio, rel=1e-3)


def test_a_wrong_address_or_an_empty_lake_says_so(stored_lake: Settings) -> None:
    with pytest.raises(FatalError, match="s3://BUCKET"):
        distributed.bucket_of("/tmp/lake")
    with pytest.raises(FatalError, match="holds no silver rows"):
        distributed.days(stored_lake, f"s3://{stored_lake.s3_bucket}", SYMBOL)
