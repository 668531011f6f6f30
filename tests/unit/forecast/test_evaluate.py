"""Evaluation of a stranger's file, end to end without servers: the report's shape, and what a bar cannot tell."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from features.spec import NAMES
from forecast import evaluate
from forecast.data.dataset import Dataset
from forecast.evaluate import UNTOLD_BY_BARS
from forecast.training import backtest
from forecast.training.fitting import Tuning
from forecast.training.walkforward import Schedule
from formats import frames
from lakehouse.messages import EVENT_SCHEMA
from tradelake.app import cli

PER_HORIZON = {"n", "models", "best_baseline", "champion", "ratio", "dm_p", "coverage_80", "coverage_95"}


def command(*arguments: str | Path) -> Result:
    """Runs ``tradelake evaluate``."""
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


def write_bars(path: Path, minutes: int) -> Path:
    rng = np.random.default_rng(8)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 5e-4, minutes)))
    open_ = np.concatenate([[100.0], close[:-1]])
    start = np.datetime64("2026-01-01T00:00", "us")
    frame = pl.DataFrame(
        {
            "ts": pl.Series(start + np.arange(minutes) * np.timedelta64(1, "m")).dt.replace_time_zone("UTC"),
            "open": open_,
            "high": np.maximum(open_, close) * 1.0002,
            "low": np.minimum(open_, close) * 0.9998,
            "close": close,
            "volume": rng.uniform(1, 5, minutes),
        }
    )
    frame.filter(pl.int_range(pl.len()) % 97 != 5).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of minute bars, one in 97 missing."""
    return write_bars(tmp_path_factory.mktemp("bars") / "bars.parquet", 2900)


@pytest.fixture(scope="module")
def data(bars: Path) -> Dataset:
    """Their rows and truths."""
    return evaluate.from_bars(frames.read_bars(bars))


def test_a_row_is_as_of_a_close_and_knows_what_a_bar_tells(bars: Path, data: Dataset) -> None:
    held = frames.read_bars(bars)
    close = dict(zip((held["ts"].to_physical() + 60_000_000).to_list(), held["close"].to_list(), strict=True))
    rows = data.rows()
    assert [close[ts] for ts in data.ts.tolist()] == rows["bid"].tolist()
    assert np.isfinite(rows["range_bps_1m"]).all() and np.isfinite(rows["rv_5m"]).all()
    for name in UNTOLD_BY_BARS:
        assert np.isnan(rows[name]).all(), name
    assert {"rv_5m", "range_bps_1m", "volume_5m", "ret_1m"}.isdisjoint(UNTOLD_BY_BARS) and set(UNTOLD_BY_BARS) < set(
        NAMES
    )


def test_an_exchange_that_is_down_gives_no_row_however_the_file_tells_it(tmp_path: Path) -> None:
    bars = pl.read_parquet(write_bars(tmp_path / "all.parquet", 1000))
    down = pl.int_range(pl.len()).is_between(500, 599)
    still = [pl.when(down).then(0.0).otherwise("volume").alias("volume")]
    still += [pl.when(down).then(None).otherwise(c).forward_fill().alias(c) for c in ("open", "high", "low", "close")]
    filled, missing = tmp_path / "filled.parquet", tmp_path / "missing.parquet"
    bars.with_columns(still).write_parquet(filled)
    bars.filter(~down).write_parquet(missing)
    one, other = (evaluate.from_bars(frames.read_bars(path)) for path in (filled, missing))
    assert one.hash() == other.hash()
    opened, closed = bars["ts"].to_physical()[500], bars["ts"].to_physical()[599]
    assert not ((one.ts > opened) & (one.ts <= closed + 3600 * 10**6)).any()
    assert (one.ts > closed + 3600 * 10**6).any()


def sweeps(events: int) -> pl.DataFrame:
    """Trades without quotes, of which runs share one timestamp, as when an order sweeps the book."""
    rng = np.random.default_rng(3)
    ts = np.cumsum(rng.choice([0, 0, 0, 900_000, 7_000_000], events)) + 1_767_225_600_000_000
    price = np.round(100 * np.exp(np.cumsum(rng.normal(0, 1e-3, events))), 2)
    trades = pl.DataFrame({"ts": ts, "price": price, "qty": 1.0, "trade_id": np.arange(1, events + 1)})
    typed = trades.with_columns(
        pl.col("ts").cast(pl.Datetime("us", "UTC")),
        symbol=pl.lit("A/B"),
        type=pl.lit("trade"),
        side=pl.Series(rng.choice(["buy", "sell"], events)),
    )
    columns = [pl.col(c).cast(t) if c in typed.columns else pl.lit(None, t).alias(c) for c, t in EVENT_SCHEMA.items()]
    return typed.select(columns).drop("epoch", "seq")


def test_no_row_knows_a_trade_of_its_own_timestamp_that_came_after_it() -> None:
    trades = sweeps(3000)
    whole = evaluate.tick_rows(trades, 5)[0]
    for cut in range(500, 3000, 7):
        known = evaluate.tick_rows(trades.head(cut), 5)[0]
        assert known.equals(whole.head(len(known)), null_equal=True), cut


def test_the_report_has_every_figure_and_is_json(bars: Path, tmp_path: Path) -> None:
    done = command("--bars", bars, "--folds", "2", "--report", tmp_path / "out.json")
    assert done.exit_code == 0
    body = json.loads((tmp_path / "out.json").read_text())
    for target in ("vol", "bid"):
        assert list(body[target]) == ["60", "120", "180", "240", "300"]
        for figures in body[target].values():
            assert set(figures) >= PER_HORIZON and figures["n"] > 1000
            assert figures["best_baseline"] in figures["models"] and "champion" in figures["models"]
            assert len(figures["served"]) == 2
    assert set(body["vol"]["300"]["models"]) >= {"ewma", "har", "last", "tod", "linear", "xgboost", "lightgbm"}
    assert body["bid"]["60"]["models"]["persistence"]["ratio"] == 1.0
    assert "QLIKE" in done.stdout


def test_prices_that_stand_still_are_reported(tmp_path: Path) -> None:
    still, out = tmp_path / "still.parquet", tmp_path / "out.json"
    moving = pl.read_parquet(write_bars(still, 2900))
    moving.with_columns(pl.lit(100.0).alias(c) for c in ("open", "high", "low", "close")).write_parquet(still)
    done = command("--bars", still, "--folds", "2", "--report", out)
    assert done.exit_code == 0
    body = json.loads(out.read_text())
    assert {figures["ratio"] for target in ("vol", "bid") for figures in body[target].values()} == {1.0}


def test_a_random_walk_is_not_forecast(data: Dataset) -> None:
    result = backtest.run(data, "bid", Schedule(folds=2), Tuning(trees=20), libraries=("xgboost",))
    assert all(f["ratio"] <= 1.001 for f in backtest.report(data, result).values())


def test_too_little_data_is_said_with_the_counts(tmp_path: Path) -> None:
    done = command("--bars", write_bars(tmp_path / "short.parquet", 300))
    assert done.exit_code == 3
    assert "usable rows" in done.stderr


def test_a_bad_file_ends_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("ts,price,qty\n2026-01-01T00:00:00Z,oops,1\n")
    done = command("--trades", path)
    assert done.exit_code == 3
    assert "line 2, column price" in done.stderr


def test_files_of_two_symbols_are_named_each_with_its_own(tmp_path: Path) -> None:
    trades, quotes = tmp_path / "t.csv", tmp_path / "q.csv"
    trades.write_text("ts,symbol,price,qty\n2026-01-01T00:00:01Z,A/B,1,1\n")
    quotes.write_text("ts,symbol,bid,ask\n2026-01-01T00:00:00Z,C/D,1,2\n")
    done = command("--trades", trades, "--quotes", quotes)
    assert done.exit_code == 3
    assert f"{trades} holds A/B, {quotes} holds C/D" in done.stderr


def test_a_report_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for report, said in ((tmp_path, "is a directory"), (tmp_path / "file" / "out.json", "cannot create")):
        done = command("--trades", "absent.csv", "--report", report)
        assert done.exit_code == 3
        assert said in done.stderr


def test_the_folder_of_a_report_is_made(tmp_path: Path) -> None:
    evaluate.prepare(tmp_path / "new" / "folder" / "out.json")
    assert not list((tmp_path / "new" / "folder").iterdir())


@pytest.mark.parametrize(
    "arguments", [[], ["--trades", "a", "--bars", "b"], ["--bars", "b", "--folds", "0"], ["--quotes", "q"]]
)
def test_a_wrong_command_line_is_refused(arguments: list[str]) -> None:
    assert command(*arguments).exit_code == 2
