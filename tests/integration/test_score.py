"""The scorer on a real QuestDB: due forecasts beside the truth, each once, and the live skill that follows."""

import math
import sys
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from downstream import forecast_rows
from forecast import score
from forecast.model import intervals
from forecast.monitoring import recalibration
from lakehouse.records import Forecast
from lakehouse.schema import GOLD_FORECAST_SCORES, GOLD_FORECASTS, GOLD_VIEWS, TABLES
from lakehouse.settings import HORIZONS_S, Settings
from lakehouse.stores.questdb import QuestDB

SYMBOL = "BTC/USD"


def _start() -> datetime:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    return start - timedelta(seconds=start.timestamp() % recalibration.BLOCK.total_seconds())


START = _start()
QUOTES = 601
SILENCE = range(420, 450)


@pytest.fixture(autouse=True)
def _recent_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The live views look back from now: a start taken at import would be too old when the suite is long under way."""
    monkeypatch.setattr(sys.modules[__name__], "START", _start())


@pytest.fixture
def database(fresh_lake: Settings) -> QuestDB:
    """A lake with ten minutes of quotes, one per second but for half a minute of silence."""
    database = QuestDB(fresh_lake)
    database.migrate(TABLES, GOLD_VIEWS)
    seconds = [s for s in range(QUOTES) if s not in SILENCE]
    ts = [START + timedelta(seconds=s) for s in seconds]
    bids = _bids()
    quotes = {"ts": ts, "received_at": ts, "symbol": SYMBOL, "bid": bids[seconds], "ask": bids[seconds] + 1.0}
    more = {"bid_qty": 1.0, "ask_qty": 1.0, "source": "sim", "origin": "live", "epoch": 1}
    frame = pl.DataFrame(quotes | more).with_columns(seq=pl.int_range(pl.len()))
    database.write(next(t for t in TABLES if t.name == "bronze_quotes"), frame)
    database.wait_applied(["bronze_quotes"])
    return database


def _bids() -> np.ndarray:
    return 100.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 1e-4, QUOTES)))


def _forecast(target: str, second: int, horizon: int, value: float, seq: int = 0) -> Forecast:
    ends = {"lower": value * 0.999, "upper": value * 1.001, "lower_95": value * 0.9, "upper_95": value * 1.1}
    names = {"model_version": f"{target}/1", "spec": "abc", "calibration": "def", "epoch": 1, "seq": seq}
    when = START + timedelta(seconds=second)
    return Forecast(when, SYMBOL, target, horizon, value, **ends, baseline=value * 1.01, **names, latency_ms=1.0)  # type: ignore[arg-type]


def _store(database: QuestDB, *forecasts: Forecast) -> None:
    database.write(GOLD_FORECASTS, forecast_rows.frame(forecasts))
    database.wait_applied([GOLD_FORECASTS.name])


def _once(settings: Settings) -> None:
    score.score_once(settings, threading.Event())


def _scores(database: QuestDB) -> pl.DataFrame:
    database.wait_applied([GOLD_FORECAST_SCORES.name])
    return database.frame(f"SELECT * FROM {GOLD_FORECAST_SCORES.name} ORDER BY ts, target, horizon_s")


def test_truths_and_losses_are_those_of_the_path(fresh_lake: Settings, database: QuestDB) -> None:
    _store(database, _forecast("bid", 100, 60, 100.0), _forecast("vol", 100, 120, 0.002))
    _once(fresh_lake)
    bid, vol = _scores(database).rows(named=True)

    bids = _bids()
    assert bid["truth"] == pytest.approx(bids[160], rel=1e-12)
    assert bid["loss"] == pytest.approx(math.log(bids[160] / 100.0) ** 2, rel=1e-9)
    assert bid["due"] == START + timedelta(seconds=160)
    mids = bids + 0.5
    # Grid points at multiples of 5 s of absolute time; the start is a whole minute.
    returns = np.diff(np.log(mids[100:221:5]))
    truth = max(math.sqrt(np.sum(returns**2)), 1e-4 * math.sqrt(120 / 300))
    assert vol["truth"] == pytest.approx(truth, rel=1e-9)
    ratio = (truth / 0.002) ** 2
    assert vol["loss"] == pytest.approx(ratio - math.log(ratio) - 1, rel=1e-9)
    assert bid["inside_80"] == (99.9 <= bids[160] <= 100.1)
    assert bid["inside_95"]


def test_only_what_is_due_and_has_a_fresh_truth(fresh_lake: Settings, database: QuestDB) -> None:
    not_due, silent = _forecast("bid", 560, 60, 100.0), _forecast("bid", 380, 60, 100.0)
    just_before_silence = _forecast("bid", 360, 60, 100.0)
    _store(database, not_due, silent, just_before_silence)
    _once(fresh_lake)
    assert _scores(database)["ts"].to_list() == [just_before_silence.ts]


def test_again_changes_nothing_and_late_forecasts_are_judged_too(fresh_lake: Settings, database: QuestDB) -> None:
    _store(database, *(_forecast("bid", s, h, 100.0, seq=s) for s in range(10, 100) for h in (60, 300)))
    _once(fresh_lake)
    first = _scores(database)
    assert first.height == 180
    _once(fresh_lake)
    assert _scores(database).equals(first)

    scorer = score.Scorer(database, fresh_lake.vol_step_s)
    assert scorer.score(SYMBOL) == 2
    assert scorer.score(SYMBOL) == 0
    _store(database, _forecast("bid", 200, 60, 100.0, seq=200))
    assert scorer.score(SYMBOL) == 1


def test_live_skill_from_sql(fresh_lake: Settings, database: QuestDB) -> None:
    _store(database, *(_forecast("bid", s, 60, float(_bids()[s + 60]) * 1.0001, seq=s) for s in range(50)))
    _once(fresh_lake)
    scores = _scores(database)
    expected = 1 - float(scores["loss"].sum()) / float(scores["baseline_loss"].sum())
    (row,) = database.rows("SELECT symbol, target, horizon_s, n, skill, coverage_80, coverage_95 FROM gold_skill_1h")
    assert row[:4] == (SYMBOL, "bid", 60, 50)
    assert row[4] == pytest.approx(expected)
    assert 0.99 < expected < 1
    assert row[5:] == (1.0, 1.0)


def test_intervals_move_by_what_the_block_missed_and_no_further(fresh_lake: Settings, database: QuestDB) -> None:
    low = [_forecast("bid", s, 60, float(_bids()[s + 60]) * 0.99, seq=s) for s in range(30)]
    good = [_forecast("bid", s, 60, float(_bids()[s + 60]), seq=s) for s in range(30, 60)]
    _store(database, *low, *good)
    _once(fresh_lake)
    own = intervals.normal(np.ones(len(HORIZONS_S)))
    calibrator = recalibration.Calibrator(database, lambda: {"bid/1": own, "vol/1": own})
    end = START + recalibration.BLOCK
    assert calibrator.advance(end) == 0, "the block's last forecasts are not judged yet"
    assert calibrator.advance(end + recalibration.LATE) == 1
    assert calibrator.advance(end + 2 * recalibration.LATE) == 0
    until, state = recalibration.newest(database, "bid/1") or (None, None)
    above = np.full((len(HORIZONS_S), 4), np.nan)
    above[0] = 1.0, 1.0, 0.5, 0.0
    assert until == end
    assert state == intervals.moved(own, above, 10.0)
    assert recalibration.named(database, "bid/1", state.id) == state
    assert recalibration.newest(database, "vol/1") is None

    again = recalibration.Calibrator(database, lambda: {"bid/1": own})
    assert again.advance(end + recalibration.LATE) == 0, "a restart learns nothing twice"
    _store(database, *(_forecast("bid", s, 60, 100.0, seq=s) for s in range(540, 600)))
    assert again.advance(end + timedelta(hours=2)) == 0, "what happened long ago moves nothing"
