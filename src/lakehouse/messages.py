"""The JSON that travels: events on Kafka (schema 1), feature rows and forecasts on Redis."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from lakehouse.errors import PoisonError
from lakehouse.records import Event, FeatureRow, Forecast, Gap, Quote, RowForecasts, Trade
from lakehouse.times import format_time

SCHEMA_HEADER = ("schema", b"1")
# Marks a replayed dead letter, whose place in the log is not its place in time.
REPLAY_HEADER = ("replay", b"1")
_TIME = pl.Datetime("us", "UTC")
_RFC_3339 = "%Y-%m-%dT%H:%M:%S%.fZ"
TYPES = {Trade: "trade", Quote: "quote", Gap: "gap"}

# What a value may hold, in the order of design.md; `ts` and `received_at` are RFC 3339 text on the wire.
WIRE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "type": pl.String,
    "symbol": pl.String,
    "stream": pl.String,
    "trade_id": pl.Int64,
    "price": pl.Float64,
    "qty": pl.Float64,
    "side": pl.String,
    "ord_type": pl.String,
    "bid": pl.Float64,
    "bid_qty": pl.Float64,
    "ask": pl.Float64,
    "ask_qty": pl.Float64,
    "last": pl.Float64,
    "volume": pl.Float64,
    "vwap": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "change": pl.Float64,
    "change_pct": pl.Float64,
    "ts": pl.String,
    "received_at": pl.String,
    "source": pl.String,
    "reason": pl.String,
}

# A batch of events in log order: the result of `decode` and of reading bronze, the input of `engine.fold`.
EVENT_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    **WIRE_SCHEMA,
    "ts": _TIME,
    "received_at": _TIME,
    "epoch": pl.Int64,
    "seq": pl.Int64,
}


def encode(event: Event) -> bytes:
    """One event as the JSON value of a Kafka message; fields that are None are left out."""
    body: dict[str, object] = {"type": TYPES[type(event)]}
    for name in event.__dataclass_fields__:
        value = getattr(event, name)
        if value is not None:
            body[name] = format_time(value) if isinstance(value, datetime) else value
    return orjson.dumps(body)


def decode(values: Sequence[bytes], epoch: int, seqs: Sequence[int] | npt.NDArray[np.int64]) -> pl.DataFrame:
    """A batch of values as one frame of `EVENT_SCHEMA`, row i from value i.

    Raises:
        PoisonError: some value does not parse; the caller bisects to find which.
    """
    try:
        # Polars decompresses input that begins like a gzip, zlib or zstd file; a leading space prevents that.
        frame = pl.read_ndjson(b" " + b"\n".join(values), schema=WIRE_SCHEMA)
        if frame.height != len(values):
            raise PoisonError("unparsable", f"{len(values)} values gave {frame.height} rows")
        return frame.with_columns(
            # Times rarely repeat, so caching parsed ones costs more than it saves.
            pl.col("ts", "received_at").str.to_datetime(_RFC_3339, time_unit="us", time_zone="UTC", cache=False),
            pl.lit(epoch, pl.Int64).alias("epoch"),
            pl.Series("seq", seqs, pl.Int64),
        )
    except pl.exceptions.PolarsError as error:
        raise PoisonError("unparsable", str(error)) from error


# What each forecast says for itself in the message of its row.
_FORECAST_FIELDS = (
    *("target", "horizon_s", "value", "lower", "upper", "lower_95", "upper_95", "baseline"),
    *("model_version", "calibration"),
)


def encode_features(row: FeatureRow) -> bytes:
    """One feature row as JSON; NaN becomes null."""
    return orjson.dumps(
        {
            "symbol": row.symbol,
            "spec": row.spec,
            "epoch": row.epoch,
            "seq": row.seq,
            "complete": row.complete,
            "ts": format_time(row.ts),
            "received_at": format_time(row.received_at),
            "values": row.values,
        }
    )


def decode_features(value: bytes) -> FeatureRow:
    """What `encode_features` gave.

    Raises:
        PoisonError: it did not give this.
    """
    try:
        body = orjson.loads(value)
        ts, received_at = (datetime.fromisoformat(body.pop(name)) for name in ("ts", "received_at"))
        return FeatureRow(ts=ts, received_at=received_at, **body)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise PoisonError("unparsable", f"not a feature row: {error!r}") from error


def encode_forecasts(of_row: RowForecasts) -> bytes:
    """The forecasts of one feature row as JSON."""
    return orjson.dumps(
        {
            "symbol": of_row.symbol,
            "as_of": format_time(of_row.as_of),
            "received_at": format_time(of_row.received_at),
            "epoch": of_row.epoch,
            "seq": of_row.seq,
            "spec": of_row.spec,
            "forecasts": [{name: getattr(f, name) for name in _FORECAST_FIELDS} for f in of_row.forecasts],
            "latency_ms": of_row.latency_ms,
        }
    )


def decode_forecasts(value: bytes) -> RowForecasts:
    """What `encode_forecasts` gave.

    Raises:
        PoisonError: it did not give this.
    """
    try:
        body = orjson.loads(value)
        as_of, received_at = (datetime.fromisoformat(body.pop(name)) for name in ("as_of", "received_at"))
        shared = {name: body[name] for name in ("symbol", "spec", "epoch", "seq", "latency_ms")}
        found = tuple(Forecast(ts=as_of, **shared, **one) for one in body["forecasts"])
        return RowForecasts(as_of=as_of, received_at=received_at, forecasts=found, **shared)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise PoisonError("unparsable", f"not a message of forecasts: {error!r}") from error
