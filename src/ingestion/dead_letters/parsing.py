"""Parses a dead letter's payload with the current rules: our event, a WebSocket frame or a REST row; pure."""

from datetime import datetime, timedelta

import orjson

from ingestion.kafka_log.validation import reasons
from ingestion.kraken.rest_messages import parse_row
from ingestion.kraken.ws_messages import QuoteFrame, TradeFrame, parse_frame
from lakehouse.errors import PoisonError
from lakehouse.messages import decode, encode
from lakehouse.records import Source
from lakehouse.times import format_time


def events_in(
    payload: bytes, symbol: str, received_at: datetime, now: datetime, future_tolerance_s: float, live: Source
) -> list[tuple[str, bytes]]:
    """The (symbol, message value) pairs in a payload.

    Args:
        symbol: the symbol of a REST row, which does not name it.
        received_at: when the payload was set aside; used for events without a time of receipt.
        now: the new time of receipt of an event that was too far ahead of the clock.
        live: the ``source`` of WebSocket events.

    Raises:
        PoisonError: the payload is still not acceptable; the message says why.
    """
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise PoisonError("unparsable", f"neither JSON nor an event ({error}): give the event with --payload") from None
    if isinstance(body, list):
        return [_passed(encode(parse_row(body, symbol, received_at)), now, future_tolerance_s)]
    if isinstance(body, dict) and "type" in body and "channel" not in body:
        return [_passed(payload, now, future_tolerance_s)]
    match parse_frame(payload, received_at, live):
        case TradeFrame(trades):
            return [_passed(encode(trade), now, future_tolerance_s) for trade in trades]
        case QuoteFrame(quotes):
            return [_passed(encode(quote), now, future_tolerance_s) for quote in quotes]
        case other:
            raise PoisonError("no event", f"frame without events: {type(other).__name__}")


def _passed(value: bytes, now: datetime, future_tolerance_s: float) -> tuple[str, bytes]:
    """The value, if it passes the consumer's validation."""
    events = decode([value], 0, [0])
    ts, received_at = events["ts"][0], events["received_at"][0]
    if ts is not None and received_at is not None and ts - received_at > timedelta(seconds=future_tolerance_s):
        value = orjson.dumps(orjson.loads(value) | {"received_at": format_time(now)})
        events = decode([value], 0, [0])
    reason = reasons(events, future_tolerance_s)[0]
    if reason is not None:
        raise PoisonError(reason, value[:300].decode(errors="replace"))
    return str(events["symbol"][0]), value
