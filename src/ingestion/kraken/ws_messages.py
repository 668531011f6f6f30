"""Messages of Kraken's WebSocket v2: builds requests and parses every frame into a typed result; pure.

There are three kinds of frames: a ``method`` key marks a reply, ``channel`` marks data, and an error may have neither.
Objects are read by key, since their order is not stable. Unknown keys are ignored: Kraken adds some without notice.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, cast

import orjson

from lakehouse.errors import PoisonError
from lakehouse.records import Quote, Side, Source, Stream, Trade

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Status:
    """The exchange's state, sent on connecting and on every change; trading happens only in ``online``."""

    system: str
    connection_id: int | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The connection is alive; says nothing about any subscription."""


@dataclass(frozen=True, slots=True)
class Ack:
    """One symbol's (un)subscription was accepted; ``symbol`` and ``req_id`` are None if Kraken omits them."""

    method: str
    channel: str
    symbol: str | None
    req_id: int | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """One request, or one symbol of it, was refused; the connection and the other symbols continue."""

    method: str
    error: str
    symbol: str | None
    req_id: int | None


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping; ``at`` is the exchange's time of it, where it tells."""

    req_id: int | None
    at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class BareError:
    """An error that names no method, such as ``Exceeded msg rate``."""

    error: str


@dataclass(frozen=True, slots=True)
class TradeFrame:
    """Trades in the frame's order; a snapshot repeats the last 50, oldest first."""

    trades: tuple[Trade, ...]
    snapshot: bool


@dataclass(frozen=True, slots=True)
class QuoteFrame:
    """Best bid and ask, one per symbol in the frame."""

    quotes: tuple[Quote, ...]
    snapshot: bool


@dataclass(frozen=True, slots=True)
class Other:
    """Data of a channel that the lake does not use (book, ohlc, …)."""

    channel: str


ParsedFrame = Status | Heartbeat | Ack | Rejection | Pong | BareError | TradeFrame | QuoteFrame | Other


def subscribe(
    stream: Stream, symbols: Iterable[str], req_id: int, method: Literal["subscribe", "unsubscribe"] = "subscribe"
) -> str:
    """The request that starts (or ends) ``stream`` for ``symbols``; one ack or refusal per symbol answers it.

    >>> subscribe("ticker", ["BTC/USD"], 2)
    '{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"],"event_trigger":"bbo","snapshot":true},"req_id":2}'
    >>> subscribe("trade", ["BTC/USD"], 3, "unsubscribe")
    '{"method":"unsubscribe","params":{"channel":"trade","symbol":["BTC/USD"]},"req_id":3}'
    """
    params: dict[str, object] = {"channel": stream, "symbol": list(symbols)}
    if stream == "ticker":
        params["event_trigger"] = "bbo"
    if method == "subscribe":
        # The default of `snapshot` differs between Kraken's documentation and its behaviour: always set it.
        params["snapshot"] = True
    return orjson.dumps({"method": method, "params": params, "req_id": req_id}).decode()


def ping(req_id: int) -> str:
    """The request that resets the server's idle timer; it must not carry ``params``.

    >>> ping(101)
    '{"method":"ping","req_id":101}'
    """
    return orjson.dumps({"method": "ping", "req_id": req_id}).decode()


def parse_frame(text: str | bytes, received_at: datetime, source: Source = "ws") -> ParsedFrame:
    """Parses one WebSocket frame; stamps ``received_at`` and ``source`` on its trades and quotes.

    >>> now = datetime(2026, 9, 25, 10, 15, 32, tzinfo=UTC)
    >>> parse_frame('{"channel":"heartbeat"}', now)
    Heartbeat()
    >>> parse_frame('{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online",'
    ...             '"api_version":"v2","connection_id":13824098765432109876}]}', now)
    Status(system='online', connection_id=13824098765432109876)
    >>> parse_frame('{"method":"pong","req_id":101,"time_in":"2026-09-25T10:15:30.120451Z"}', now)
    Pong(req_id=101, at=datetime.datetime(2026, 9, 25, 10, 15, 30, 120451, tzinfo=datetime.timezone.utc))

    Raises:
        PoisonError: the frame breaks the protocol; the message says what and where.
    """
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise PoisonError("unparsable", f"frame is not JSON ({error}): {text[:200]!r}") from None
    if not isinstance(frame, dict):
        raise PoisonError("unparsable", f"frame is not an object: {text[:200]!r}")
    if "method" in frame:
        return _parse_reply(frame)
    if "channel" in frame:
        return _parse_data(frame, received_at, source)
    complaint = frame.get("error", frame.get("Error"))
    if isinstance(complaint, str):
        return BareError(complaint)
    raise PoisonError("unparsable", f"frame has neither method, channel nor error: {text[:200]!r}")


def _parse_reply(frame: Mapping[str, Any]) -> Ack | Rejection | Pong:
    """Replies to our requests.

    Ack:     ``{"method":"subscribe","req_id":1,"result":{"channel":"trade","snapshot":true,"symbol":"BTC/USD"},
             "success":true,"time_in":"2026-09-25T10:15:30.201114Z","time_out":"2026-09-25T10:15:30.201160Z"}``
    Refusal: ``{"error":"Currency pair not supported XBT/USD","method":"subscribe","req_id":7,"success":false,
             "symbol":"XBT/USD","time_in":"2026-09-25T10:15:30.300001Z","time_out":"2026-09-25T10:15:30.300025Z"}``
    """
    method, req_id = _text(frame, "method", "reply"), frame.get("req_id")
    if req_id is not None and not _is_int(req_id):
        raise PoisonError("unparsable", f"req_id of a reply is not an integer: {req_id!r}")
    if frame.get("success") is False or "error" in frame:
        symbol = frame.get("symbol")
        return Rejection(method, str(frame.get("error")), symbol if isinstance(symbol, str) else None, req_id)
    if method == "pong":
        return Pong(req_id, _time_or_none(frame.get("time_in")))
    result = frame.get("result")
    if not isinstance(result, dict):
        raise PoisonError("unparsable", f"reply to {method} has no result: {dict(frame)!r:.200}")
    symbol, warnings = result.get("symbol"), result.get("warnings")
    return Ack(
        method,
        _text(result, "channel", "ack"),
        symbol if isinstance(symbol, str) else None,
        req_id,
        tuple(map(str, warnings)) if isinstance(warnings, list) else (),
    )


def _parse_data(frame: Mapping[str, Any], received_at: datetime, source: Source) -> ParsedFrame:
    """Data by channel; ``type`` tells a snapshot from an update."""
    channel = _text(frame, "channel", "frame")
    if channel == "heartbeat":
        return Heartbeat()
    if channel not in ("status", "trade", "ticker"):
        return Other(channel)
    items = frame.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise PoisonError("unparsable", f"data of channel {channel} is not a list of objects: {items!r:.200}")
    snapshot = frame.get("type") == "snapshot"
    if channel == "trade":
        return TradeFrame(tuple(parse_trade(item, received_at, source) for item in items), snapshot)
    if channel == "ticker":
        return QuoteFrame(tuple(parse_quote(item, received_at, source) for item in items), snapshot)
    if not items:
        raise PoisonError("unparsable", "status frame without data")
    connection_id = items[0].get("connection_id")
    return Status(_text(items[0], "system", "status"), connection_id if _is_int(connection_id) else None)


def parse_trade(item: Mapping[str, Any], received_at: datetime, source: Source) -> Trade:
    """One item of the trade channel.

    Sample: ``{"symbol":"BTC/USD","side":"sell","price":64249.9,"qty":0.01250000,"ord_type":"market",
    "trade_id":91234567,"timestamp":"2026-09-25T10:15:21.004518Z"}``

    Raises:
        PoisonError: a field is missing or impossible.
    """
    trade_id, side = item.get("trade_id"), item.get("side")
    if not _is_int(trade_id) or not 0 <= cast(int, trade_id) <= _MAX_ID:
        raise PoisonError("bad trade", f"trade_id is not a whole number ≥ 0: {dict(item)!r:.300}")
    if side not in ("buy", "sell"):
        raise PoisonError("bad trade", f"side is neither buy nor sell: {dict(item)!r:.300}")
    return Trade(
        symbol=_symbol(item, "trade"),
        trade_id=cast(int, trade_id),
        price=_number(item, "price", "trade", above_zero=True),
        qty=_number(item, "qty", "trade", above_zero=True),
        side=cast(Side, side),
        ord_type=_text(item, "ord_type", "trade"),
        ts=parse_time(_text(item, "timestamp", "trade")),
        received_at=received_at,
        source=source,
    )


def parse_quote(item: Mapping[str, Any], received_at: datetime, source: Source) -> Quote:
    """One item of the ticker channel; ``timestamp`` (absent in frames of 2024) falls back to ``received_at``.

    Sample: ``{"symbol":"BTC/USD","bid":64250.0,"bid_qty":1.50000000,"ask":64250.1,"ask_qty":0.85000000,"last":64250.1,
    "volume":1834.20451122,"vwap":63990.4,"low":63011.0,"high":64810.5,"change":512.3,"change_pct":0.80,"trades":51234,
    "timestamp":"2026-09-25T10:15:30.410022Z"}``

    Raises:
        PoisonError: a field is missing or impossible; the 24 h figures may be missing, but not of a wrong type.
    """
    rolling = ("last", "volume", "vwap", "low", "high", "change", "change_pct")
    stamp = item.get("timestamp")
    return Quote(
        symbol=_symbol(item, "quote"),
        bid=_number(item, "bid", "quote", above_zero=True),
        bid_qty=_number(item, "bid_qty", "quote"),
        ask=_number(item, "ask", "quote", above_zero=True),
        ask_qty=_number(item, "ask_qty", "quote"),
        ts=received_at if stamp is None else parse_time(_text(item, "timestamp", "quote")),
        received_at=received_at,
        source=source,
        **{name: _number(item, name, "quote") for name in rolling if item.get(name) is not None},
    )


def parse_time(text: str) -> datetime:
    """RFC 3339 UTC with 0 to 9 fraction digits and ``Z``; digits beyond the microsecond are cut off.

    >>> parse_time("2026-09-25T10:15:31.118240517Z")
    datetime.datetime(2026, 9, 25, 10, 15, 31, 118240, tzinfo=datetime.timezone.utc)

    Raises:
        PoisonError: another form, an impossible date, or a time before 1970.
    """
    try:
        if _RFC3339.fullmatch(text) and (value := datetime.fromisoformat(text)) >= _EPOCH:
            return value
    except ValueError:
        pass
    raise PoisonError("bad time", f"want a time such as 2026-09-25T10:15:31.118240Z since 1970, got {text!r:.60}")


def _time_or_none(value: object) -> datetime | None:
    try:
        return parse_time(value) if isinstance(value, str) else None
    except PoisonError:
        return None


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(item: Mapping[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise PoisonError(f"bad {where}", f"{name} is not a text: {dict(item)!r:.300}")
    return value


def _symbol(item: Mapping[str, Any], where: str) -> str:
    symbol = _text(item, "symbol", where)
    if symbol.count("/") != 1 or len(symbol) > 32:
        raise PoisonError(f"bad {where}", f"symbol is not a pair such as BTC/USD: {dict(item)!r:.300}")
    return symbol


def _number(item: Mapping[str, Any], name: str, where: str, above_zero: bool = False) -> float:
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PoisonError(f"bad {where}", f"{name} is not a number: {dict(item)!r:.300}")
    if above_zero and value <= 0:
        raise PoisonError(f"bad {where}", f"{name} is not above 0: {dict(item)!r:.300}")
    return float(value)
