"""Encodes candles for download as JSON, CSV or Parquet; pure."""

import io
from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl

from forecast.page.queries import CANDLE_COLUMNS

TYPES = {"json": "application/json", "csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
_SCHEMA: dict[str, pl.DataType] = {
    "ts": pl.Datetime("us", "UTC"),
    **{name: pl.Float64() for name in ("open", "high", "low", "close", "volume", "vwap")},
    "trades": pl.Int64(),
    "closed": pl.Boolean(),
}


def encode(candles: Sequence[dict[str, Any]], kind: str) -> bytes:
    """The candles in one of `TYPES`; columns as in the view, times UTC."""
    if kind == "json":
        return orjson.dumps(candles, option=orjson.OPT_UTC_Z)
    frame = pl.DataFrame(candles, schema={name: _SCHEMA[name] for name in CANDLE_COLUMNS})
    if kind == "csv":
        return frame.write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ").encode()
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
