"""Reads a dead letter's payload as it would be read today: an event of ours, a WebSocket frame or a REST row; pure."""

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
    """The (symbol, message value) pairs that a payload holds.

    Args:
        symbol: of a REST row, which does not say.
        received_at: when the payload was set aside; stamped on what carries no stamp of its own.
        now: an event that was too far ahead of the clock is stamped anew with this.
        live: the ``source`` of what came over a WebSocket.

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
            raise PoisonError("no event", f"a frame without events: {type(other).__name__}")


def _passed(value: bytes, now: datetime, future_tolerance_s: float) -> tuple[str, bytes]:
    """The value, once it has passed the same checks as the consumer's."""
    events = decode([value], 0, [0])
    ts, received_at = events["ts"][0], events["received_at"][0]
    if ts is not None and received_at is not None and ts - received_at > timedelta(seconds=future_tolerance_s):
        value = orjson.dumps(orjson.loads(value) | {"received_at": format_time(now)})
        events = decode([value], 0, [0])
    reason = reasons(events, future_tolerance_s)[0]
    if reason is not None:
        raise PoisonError(reason, value[:300].decode(errors="replace"))
    return str(events["symbol"][0]), value
