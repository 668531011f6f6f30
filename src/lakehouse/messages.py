"""The JSON values on Kafka, schema 1: one event to bytes, and a batch of bytes to one polars frame."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from lakehouse.errors import PoisonError
from lakehouse.records import Event, Gap, Quote, Trade
from lakehouse.times import format_time

SCHEMA_HEADER = ("schema", b"1")
# On a dead letter that was sent again: it lies in the log where it was mended, not where it happened.
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

# A batch of events in log order: what `decode` gives, bronze is read back as, and `engine.fold` takes.
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
        # Polars would unpack what begins like a gzip, zlib or zstd file; with a space before it nothing does.
        frame = pl.read_ndjson(b" " + b"\n".join(values), schema=WIRE_SCHEMA)
        if frame.height != len(values):
            raise PoisonError("unparsable", f"{len(values)} values gave {frame.height} rows")
        return frame.with_columns(
            # Hardly a time comes twice, so remembering the last ones costs more than it spares.
            pl.col("ts", "received_at").str.to_datetime(_RFC_3339, time_unit="us", time_zone="UTC", cache=False),
            pl.lit(epoch, pl.Int64).alias("epoch"),
            pl.Series("seq", seqs, pl.Int64),
        )
    except pl.exceptions.PolarsError as error:
        raise PoisonError("unparsable", str(error)) from error
