"""The engine against an oracle written from the definitions, on random logs and on recorded markets."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engine import EngineConfig, EngineState, fold
from features.spec import LEAD_IN, NAMES, ROW_COLUMNS
from tests.oracle.features import oracle_rows
from tests.support.recordings import Recordings
from tests.unit.features.frames import PACES, SPARSE, START, days, differences, logs, numbered, recorded

CONFIGS = st.sampled_from([EngineConfig(i, step, 900.0, SPARSE) for i in (0, 1000, 60_000) for step in (60, 30)])


def rows_of(events: pl.DataFrame, config: EngineConfig) -> pl.DataFrame:
    """The rows of one fold over everything."""
    return fold(EngineState.empty(config), events)[1]


def compare(events: pl.DataFrame, config: EngineConfig, every: int = 1) -> int:
    """Asserts that the engine's rows are the oracle's; returns how many were compared."""
    rows = rows_of(events, config)
    expected = list(oracle_rows(events, config, every))
    schema = {name: rows.schema[name] for name in (*ROW_COLUMNS, *NAMES)}
    wanted = pl.DataFrame([row for _, row in expected], schema=schema, orient="row")
    assert differences(rows[[i for i, _ in expected]], wanted) == []
    return wanted.height


@settings(max_examples=120)
@given(logs(size=40), CONFIGS)
def test_rows_are_the_oracles(events: pl.DataFrame, config: EngineConfig) -> None:
    compare(events, config)


@settings(max_examples=15)
@given(logs(size=60, paces=PACES[1:]), st.sampled_from((1, 2, 5, 12)))
def test_rows_are_the_oracles_on_fine_grids(events: pl.DataFrame, step: int) -> None:
    compare(events, EngineConfig(1000, step, 900.0, SPARSE), every=10)


@settings(max_examples=150)
@given(logs(), CONFIGS, st.lists(st.integers(0, 80), max_size=8))
def test_any_split_gives_the_same_rows(events: pl.DataFrame, config: EngineConfig, cuts: list[int]) -> None:
    state, parts = EngineState.empty(config), []
    for a, b in pairwise([0, *sorted(cuts), events.height]):
        state, rows = fold(state, events[a : max(a, b)])
        parts.append(rows)
    assert differences(pl.concat(parts), rows_of(events, config)) == []


@settings(max_examples=150)
@given(logs(size=120), CONFIGS, st.integers(0, 119))
def test_the_tail_gives_the_rows_of_the_whole(events: pl.DataFrame, config: EngineConfig, at: int) -> None:
    start = events["ts"].gather([at % max(events.height, 1)], null_on_oob=True)[0] or START
    rows = rows_of(events, config).filter(pl.col("ts") >= start)
    tail = rows_of(events.filter(pl.col("ts") >= start - LEAD_IN), config).filter(pl.col("ts") >= start)
    assert differences(tail, rows) == []


@pytest.mark.parametrize("seed", range(6))
def test_rows_of_many_days_are_the_oracles(seed: int) -> None:
    compare(days(seed), EngineConfig(0, 60, 900.0, SPARSE), every=4)


@pytest.mark.parametrize("seed", range(12))
def test_the_tail_of_many_days_gives_the_rows_of_the_whole(seed: int) -> None:
    config, events = EngineConfig(0, 60, 900.0, SPARSE), days(seed)
    rows = rows_of(events, config).filter(pl.col("symbol") == "BTC/USD")
    assert rows["rv_24h"].is_not_nan().any()
    for start in rows["ts"][-30::5]:
        tail = rows_of(events.filter(pl.col("ts") >= start - LEAD_IN), config)
        known = pl.col("ts") >= start
        assert differences(tail.filter(known, pl.col("symbol") == "BTC/USD"), rows.filter(known)) == []


@settings(max_examples=60)
@given(logs(), CONFIGS)
def test_symbols_do_not_touch_each_other(events: pl.DataFrame, config: EngineConfig) -> None:
    rows = rows_of(events, config)
    for symbol in events["symbol"].unique():
        alone = rows_of(events.filter(pl.col("symbol") == symbol), config)
        assert differences(alone, rows.filter(pl.col("symbol") == symbol)) == []


def test_sparse_recordings_are_the_oracles(recordings: Recordings) -> None:
    events = recorded(recordings.sparse_trades, "trade").head(60_000)
    assert compare(events, EngineConfig(sparse=frozenset({"BTC/JPY"})), every=events.height // 40) >= 10


def test_dense_recordings_are_the_oracles(recordings: Recordings) -> None:
    both = pl.concat([recorded(recordings.trades, "trade"), recorded(recordings.quotes, "quote")])
    events = numbered(both.sort("ts", maintain_order=True)).head(60_000)
    assert compare(events, EngineConfig(), every=events.height * 3 // 200) >= 10


def test_minute_bars_fold_as_trades_at_their_close(recordings: Recordings) -> None:
    bars = pl.read_parquet(recordings.bars).head(3000)
    trades = bars.select(ts=pl.col("ts") + pl.duration(minutes=1), price="close", qty="volume").with_columns(
        symbol=pl.lit("BTC/USD"), type=pl.lit("trade"), trade_id=-pl.int_range(1, pl.len() + 1)
    )
    events = numbered(pl.concat([recorded_like(), trades], how="diagonal")).with_columns(received_at="ts")
    config = EngineConfig(vol_step_s=60, sparse=frozenset({"BTC/USD"}))
    assert compare(events, config, every=200) == 15
    last = rows_of(events, config)[-1]
    assert last["rv_10s"].is_nan().all()
    assert last["rv_24h"].is_not_nan().all()
    assert last["complete"].all()


def recorded_like() -> pl.DataFrame:
    """No events, with the columns of a batch."""
    from tests.unit.features.frames import frame

    return frame([])


@pytest.mark.parametrize("bad", [{"vol_step_s": 7}, {"vol_step_s": 0}, {"interval_ms": -1}])
def test_a_wrong_configuration_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="set "):
        EngineConfig(**bad)  # type: ignore[arg-type]
