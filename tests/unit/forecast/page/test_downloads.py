"""Downloads of candles: the same rows in every format."""

import io
from datetime import UTC, datetime

import orjson
import polars as pl

from forecast.page.downloads import encode
from forecast.page.queries import CANDLE_COLUMNS

CANDLES = [
    dict(
        zip(
            CANDLE_COLUMNS,
            (datetime(2026, 1, 1, 0, m, tzinfo=UTC), 1.0, 2.0, 0.5, 1.5, 3.0, 1.2, 4, m < 1),
            strict=True,
        )
    )
    for m in range(2)
]


def test_all_formats_hold_the_same_candles() -> None:
    parquet = pl.read_parquet(io.BytesIO(encode(CANDLES, "parquet")))
    csv = pl.read_csv(io.BytesIO(encode(CANDLES, "csv")), try_parse_dates=True)
    json = orjson.loads(encode(CANDLES, "json"))
    assert parquet.to_dicts() == CANDLES
    assert csv["ts"].to_list() == [c["ts"] for c in CANDLES]
    assert csv["close"].to_list() == [c["close"] for c in json]
    assert json[0]["ts"] == "2026-01-01T00:00:00Z"


def test_no_candles_are_a_table_without_rows() -> None:
    assert pl.read_parquet(io.BytesIO(encode([], "parquet"))).columns == list(CANDLE_COLUMNS)
    assert encode([], "json") == b"[]"
