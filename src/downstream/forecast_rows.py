"""Converts feature rows and the API's answers to rows of gold_forecasts and Redis messages; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from lakehouse.errors import PoisonError
from lakehouse.records import FeatureRow, Forecast, RowForecasts
from lakehouse.times import format_time

_TYPES: dict[object, pl.DataType] = {
    float: pl.Float64(),
    int: pl.Int64(),
    datetime: pl.Datetime("us", "UTC"),
}
SCHEMA = {f.name: _TYPES.get(f.type, pl.String()) for f in fields(Forecast)}


def request_body(rows: Sequence[FeatureRow]) -> dict[str, Any]:
    """The body to post to /predict_*: each row's features by name and its identity."""
    labels = ("symbol", "spec", "epoch", "seq")
    return {
        "data": [
            {**row.values, **{name: getattr(row, name) for name in labels}, "as_of": format_time(row.ts)}
            for row in rows
        ]
    }


def forecasts(rows: Sequence[FeatureRow], answers: Mapping[str, Mapping[str, Any]], now: datetime) -> list[Forecast]:
    """The answers to `request_body` as forecasts.

    Args:
        rows: the feature rows sent, as received from Redis.
        answers: per target, the API's answer with one row for each of ``rows``, in order.
        now: our clock, UTC; ``latency_ms`` runs from the receipt of the row's event until now.

    Raises:
        PoisonError: an answer does not fit its rows.
    """
    found = []
    for target, answer in answers.items():
        version = f"{answer['model']}/{answer['version']}"
        if answer["model"] != target or len(answer["rows"]) != len(rows):
            raise PoisonError("answer", f"asked {target} for {len(rows)} rows, got {len(answer['rows'])} of {version}")
        for row, answered in zip(rows, answer["rows"], strict=True):
            if (answered["symbol"], answered["epoch"], answered["seq"]) != (row.symbol, row.epoch, row.seq):
                raise PoisonError("answer", f"asked {target} about {row.symbol} {row.seq}, got {answered}")
            found += _of_row(row, target, version, answered, now)
    return found


def _of_row(row: FeatureRow, target: Any, version: str, answered: Mapping[str, Any], now: datetime) -> list[Forecast]:
    latency = (now - row.received_at) / timedelta(milliseconds=1)
    return [
        Forecast(
            ts=row.ts,
            symbol=row.symbol,
            target=target,
            model_version=version,
            spec=row.spec,
            calibration=answered["calibration"],
            epoch=row.epoch,
            seq=row.seq,
            latency_ms=latency,
            **forecast,
        )
        for forecast in answered["forecasts"]
    ]


def frame(found: Sequence[Forecast]) -> pl.DataFrame:
    """Forecasts as rows of gold_forecasts."""
    return pl.DataFrame({name: [getattr(f, name) for f in found] for name in SCHEMA}, schema=SCHEMA)


def by_row(rows: Sequence[FeatureRow], found: Sequence[Forecast]) -> list[RowForecasts]:
    """The forecasts of each row that has some, both targets together."""
    of: dict[tuple[str, int, int], list[Forecast]] = {}
    for forecast in found:
        of.setdefault((forecast.symbol, forecast.epoch, forecast.seq), []).append(forecast)
    return [
        RowForecasts(
            symbol=row.symbol,
            as_of=row.ts,
            received_at=row.received_at,
            spec=row.spec,
            epoch=row.epoch,
            seq=row.seq,
            latency_ms=mine[0].latency_ms,
            forecasts=tuple(mine),
        )
        for row in rows
        if (mine := of.get((row.symbol, row.epoch, row.seq)))
    ]
