"""Messages: what goes onto Kafka comes back the same, and nothing malformed gets through unnoticed."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import PoisonError
from lakehouse.messages import (
    EVENT_SCHEMA,
    decode,
    decode_features,
    decode_forecasts,
    encode,
    encode_features,
    encode_forecasts,
)
from lakehouse.records import Event, FeatureRow, Forecast, Gap, Quote, RowForecasts, Trade

times = st.datetimes(datetime(2013, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
positive = st.floats(1e-8, 1e9)
symbols = st.sampled_from(["BTC/USD", "ETH/USD"])
trades = st.builds(
    Trade,
    symbol=symbols,
    trade_id=st.integers(-(2**53), 2**62),
    price=positive,
    qty=positive,
    side=st.sampled_from(["buy", "sell", None]),
    ord_type=st.sampled_from(["limit", "market", None]),
    ts=times,
    received_at=times,
    source=st.sampled_from(["ws", "rest", "file", "sim"]),
)
quotes = st.builds(
    Quote,
    symbol=symbols,
    bid=positive,
    bid_qty=positive,
    ask=positive,
    ask_qty=positive,
    ts=times,
    received_at=times,
    source=st.just("ws"),
    last=st.none() | positive,
    change=st.none() | st.floats(-1e6, 1e6),
)
gaps = st.builds(
    Gap,
    symbol=symbols,
    stream=st.sampled_from(["trade", "ticker"]),
    ts=times,
    received_at=times,
    reason=st.text(max_size=20),
)


@given(st.lists(trades | quotes | gaps, min_size=1, max_size=20))
def test_every_event_survives_the_wire(events: list[Event]) -> None:
    frame = decode([encode(event) for event in events], epoch=3, seqs=list(range(len(events))))
    assert dict(frame.schema) == EVENT_SCHEMA
    for event, row in zip(events, frame.iter_rows(named=True), strict=True):
        held = {name: getattr(event, name) for name in event.__dataclass_fields__}
        assert {name: row[name] for name in held} == held
        assert row["epoch"] == 3


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_poison_or_a_row_never_a_crash(junk: bytes) -> None:
    good = encode(Gap("BTC/USD", "trade", datetime.now(UTC), datetime.now(UTC), "x"))
    try:
        frame = decode([good, junk], 1, [1, 2])
    except PoisonError as error:
        assert error.reason == "unparsable"
    else:
        assert frame.height == 2


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"[]", b"null", b'{"a":1}\n{"a":2}', b'{"type":"trade","price":"dear"}', b'{"trade_id":1.5}'],
)
def test_a_malformed_value_is_poison(value: bytes) -> None:
    with pytest.raises(PoisonError, match="unparsable"):
        decode([value], 1, [1])


def test_order_and_positions_are_kept() -> None:
    now = datetime.now(UTC)
    values = [encode(Trade("BTC/USD", i, 1.0, 1.0, "buy", None, now, now, "ws")) for i in (5, 3, 4)]
    frame = decode(values, 7, [10, 11, 12])
    assert frame.select("trade_id", "epoch", "seq").rows() == [(5, 7, 10), (3, 7, 11), (4, 7, 12)]
    assert frame["ts"].dtype == pl.Datetime("us", "UTC")


counts = st.integers(0, 2**53)
figures = st.floats(allow_nan=False, allow_infinity=False)
feature_rows = st.builds(
    FeatureRow,
    symbol=symbols,
    ts=times,
    spec=st.text(max_size=12),
    epoch=counts,
    seq=counts,
    complete=st.booleans(),
    received_at=times,
    values=st.dictionaries(st.sampled_from(["bid", "rv_1m", "mid"]), st.none() | figures),
)


@given(feature_rows)
def test_a_feature_row_comes_back_the_same(row: FeatureRow) -> None:
    assert decode_features(encode_features(row)) == row


def test_what_a_feature_row_does_not_know_is_null() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    row = FeatureRow("BTC/USD", now, "abc", 1, 2, False, now, {"bid": float("nan"), "ask": None, "mid": 1.5})
    assert encode_features(row) == (
        b'{"symbol":"BTC/USD","spec":"abc","epoch":1,"seq":2,"complete":false,"ts":"2026-01-01T00:00:00.000000Z",'
        b'"received_at":"2026-01-01T00:00:00.000000Z","values":{"bid":null,"ask":null,"mid":1.5}}'
    )


@given(feature_rows, st.lists(st.tuples(st.sampled_from(["bid", "vol"]), counts, figures), max_size=10), figures)
def test_forecasts_of_a_row_come_back_the_same(
    row: FeatureRow, made: list[tuple[Any, int, float]], took: float
) -> None:
    shared: dict[str, Any] = {"symbol": row.symbol, "spec": row.spec, "epoch": row.epoch, "seq": row.seq}
    shared["latency_ms"] = took
    found = tuple(
        Forecast(
            ts=row.ts,
            target=target,
            horizon_s=horizon,
            value=value,
            lower=value,
            upper=value,
            lower_95=value,
            upper_95=value,
            baseline=value,
            model_version=f"{target}/1",
            calibration="c",
            **shared,
        )
        for target, horizon, value in made
    )
    of_row = RowForecasts(as_of=row.ts, received_at=row.received_at, forecasts=found, **shared)
    assert decode_forecasts(encode_forecasts(of_row)) == of_row


@pytest.mark.parametrize("value", [b"", b"[]", b"7", b"{}", b'{"ts":1,"received_at":2}', b'{"symbol":"BTC/USD"}'])
def test_what_another_release_put_on_redis_is_named(value: bytes) -> None:
    for decoded in (decode_features, decode_forecasts):
        with pytest.raises(PoisonError, match="unparsable"):
            decoded(value)
