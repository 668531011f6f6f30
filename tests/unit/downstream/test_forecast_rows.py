"""From feature rows and answers to gold rows and Redis messages."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from downstream import forecast_rows
from lakehouse.errors import PoisonError
from lakehouse.records import FeatureRow, Forecast
from lakehouse.schema import GOLD_FORECASTS

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _row(symbol: str = "BTC/USD", seq: int = 7) -> FeatureRow:
    ts, received_at = (NOW - timedelta(milliseconds=ms) for ms in (500, 20))
    return FeatureRow(symbol, ts, "abc", 2, seq, True, received_at, {"bid": 1.0, "rv_1m": None})


def _answer(rows: list[FeatureRow], target: str = "bid", version: str = "3") -> dict[str, Any]:
    one = {"horizon_s": 60, "value": 1.0, "lower": 0.9, "upper": 1.1, "lower_95": 0.8, "upper_95": 1.2, "baseline": 1.0}
    two = {**one, "horizon_s": 120}
    names = [{"symbol": row.symbol, "epoch": row.epoch, "seq": row.seq} for row in rows]
    answered = [{**name, "forecasts": [one, two], "calibration": "cal"} for name in names]
    return {"model": target, "version": version, "rows": answered}


def test_the_body_names_each_row_and_all_its_features() -> None:
    assert forecast_rows.request_body([_row()]) == {
        "data": [
            {
                "bid": 1.0,
                "rv_1m": None,
                "symbol": "BTC/USD",
                "spec": "abc",
                "epoch": 2,
                "seq": 7,
                "as_of": "2026-01-01T11:59:59.500000Z",
            }
        ]
    }


def test_forecasts_carry_row_model_and_latency() -> None:
    rows = [_row(), _row("ETH/USD", 9)]
    found = forecast_rows.forecasts(rows, {"bid": _answer(rows), "vol": _answer(rows, "vol", "5")}, NOW)
    assert [(f.target, f.symbol, f.seq, f.horizon_s) for f in found] == [
        (target, symbol, seq, horizon)
        for target in ("bid", "vol")
        for symbol, seq in (("BTC/USD", 7), ("ETH/USD", 9))
        for horizon in (60, 120)
    ]
    assert {f.model_version for f in found} == {"bid/3", "vol/5"}
    assert found[0].ts == NOW - timedelta(milliseconds=500)
    assert found[0].latency_ms == pytest.approx(20.0)


def test_the_frame_is_what_the_table_holds() -> None:
    rows = [_row()]
    frame = forecast_rows.frame(forecast_rows.forecasts(rows, {"bid": _answer(rows)}, NOW))
    assert set(frame.columns) == set(GOLD_FORECASTS.names) == {f.name for f in fields(Forecast)}
    assert frame.schema["ts"] == pl.Datetime("us", "UTC")
    assert frame.schema["horizon_s"] == pl.Int64
    assert frame.schema["value"] == pl.Float64


def test_one_message_per_row_with_both_targets() -> None:
    rows = [_row(), _row("ETH/USD", 9)]
    found = forecast_rows.forecasts(rows, {"bid": _answer(rows), "vol": _answer(rows, "vol")}, NOW)
    messages = forecast_rows.by_row(rows, found)
    assert [m.symbol for m in messages] == ["BTC/USD", "ETH/USD"]
    assert [(f.target, f.horizon_s) for f in messages[0].forecasts] == [
        ("bid", 60),
        ("bid", 120),
        ("vol", 60),
        ("vol", 120),
    ]
    assert messages[0].latency_ms == pytest.approx(20.0)


def test_an_answer_about_other_rows_is_refused() -> None:
    with pytest.raises(PoisonError):
        forecast_rows.forecasts([_row(), _row()], {"bid": _answer([_row()])}, NOW)
    with pytest.raises(PoisonError):
        forecast_rows.forecasts([_row(seq=8)], {"bid": _answer([_row(seq=7)])}, NOW)
    with pytest.raises(PoisonError):
        forecast_rows.forecasts([_row()], {"vol": _answer([_row()], "bid")}, NOW)
