"""Parses clients' WebSocket requests and builds Kraken's replies, with its wording of refusals; pure."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import orjson

from ingestion.simulator.wire import stamp

_PRIVATE = ("executions", "balances", "level3")
_FIELDS = {
    "trade": {"channel", "symbol", "snapshot"},
    "ticker": {"channel", "symbol", "snapshot", "event_trigger"},
}
NO_PRIVATE_DATA = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A well-formed (un)subscription or ping; the symbols are not checked yet, each gets its own reply."""

    method: str
    req_id: int | None = None
    channel: str = ""
    symbols: tuple[str, ...] = ()
    snapshot: bool = True
    trigger: str = ""


class RefusedError(Exception):
    """The whole request is refused; the text is Kraken's."""

    def __init__(self, error: str, method: str | None, req_id: int | None) -> None:
        super().__init__(error)
        self.error, self.method, self.req_id = error, method, req_id


def parse_request(text: str | bytes) -> ClientRequest:
    """A client's message.

    Raises:
        RefusedError: unparsable, an unknown method or channel, an unknown field, or no symbols.
    """
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):
        raise RefusedError("Malformed request", None, None)
    method = message.get("method")
    method = method if isinstance(method, str) else None
    req_id = message.get("req_id")
    req_id = req_id if isinstance(req_id, int) and not isinstance(req_id, bool) else None
    if method == "ping":
        _only(message, {"method", "req_id"}, method, req_id or 0)
        return ClientRequest("ping", req_id)
    if method not in ("subscribe", "unsubscribe"):
        raise RefusedError("Unsupported event", method, req_id)
    _only(message, {"method", "req_id", "params"}, method, req_id)
    return _subscription(message.get("params"), method, req_id)


def _only(fields: dict[str, Any], known: Container[str], method: str, req_id: int | None) -> None:
    for name in fields:
        if name not in known:
            raise RefusedError(f"Unsupported field: '{name}' for the given msg type: {method}", method, req_id)


def _subscription(params: object, method: str, req_id: int | None) -> ClientRequest:
    if not isinstance(params, dict):
        raise RefusedError("Malformed request", method, req_id)
    channel = params.get("channel")
    if channel in _PRIVATE:
        raise RefusedError(NO_PRIVATE_DATA, method, req_id)
    if channel not in _FIELDS:
        raise RefusedError("Unsupported event", method, req_id)
    _only(params, _FIELDS[channel], method, req_id)
    symbols, snapshot = params.get("symbol"), params.get("snapshot", True)
    trigger = params.get("event_trigger", "trades") if channel == "ticker" else ""
    if not isinstance(symbols, list) or not symbols or not all(isinstance(s, str) for s in symbols):
        raise RefusedError("Malformed request", method, req_id)
    if not isinstance(snapshot, bool) or trigger not in ("", "trades", "bbo"):
        raise RefusedError("Malformed request", method, req_id)
    return ClientRequest(method, req_id, channel, tuple(symbols), snapshot, trigger)


def symbol_error(symbol: str, listed: Container[str]) -> str | None:
    """Why a symbol is refused, None if it is listed.

    >>> symbol_error("XBTUSD", {"BTC/USD"}), symbol_error("XBT/USD", {"BTC/USD"})
    ('Currency pair not in ISO 4217-A3 format XBTUSD', 'Currency pair not supported XBT/USD')
    """
    if symbol in listed:
        return None
    if symbol.count("/") != 1 or "*" in symbol:
        return f"Currency pair not in ISO 4217-A3 format {symbol}"
    return f"Currency pair not supported {symbol}"


def ack(request: ClientRequest, symbol: str, time_in: int, time_out: int) -> str:
    """One symbol's acceptance; times in µs."""
    result: dict[str, object] = {"channel": request.channel}
    if request.method == "subscribe":
        result |= {"event_trigger": request.trigger} if request.trigger else {}
        result["snapshot"] = request.snapshot
    result["symbol"] = symbol
    head = {"method": request.method} | _req_id(request.req_id)
    return _text(head | {"result": result, "success": True} | _times(time_in, time_out))


def refusal(
    error: str, method: str | None, req_id: int | None, time_in: int, time_out: int, symbol: str | None = None
) -> str:
    """A refusal of one symbol, or of the whole request where ``symbol`` is None; times in µs."""
    head = {"error": error} | ({"method": method} if method else {}) | _req_id(req_id) | {"success": False}
    return _text(head | ({"symbol": symbol} if symbol is not None else {}) | _times(time_in, time_out))


def pong(req_id: int | None, time_in: int, time_out: int) -> str:
    """The answer to a ping; times in µs."""
    return _text({"method": "pong"} | _req_id(req_id) | _times(time_in, time_out))


def status(system: str, connection_id: int) -> str:
    """The frame that opens a connection and reports every change of the exchange's state."""
    item = {"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": connection_id}
    data = [item | {"upcoming_maintenance": [], "emergency": []}]
    return _text({"channel": "status", "type": "update", "data": data})


EXCEEDED_RATE = '{"Error":"Exceeded msg rate"}'


def _req_id(req_id: int | None) -> dict[str, object]:
    return {} if req_id is None else {"req_id": req_id}


def _times(time_in: int, time_out: int) -> dict[str, object]:
    return {"time_in": stamp(time_in), "time_out": stamp(time_out)}


def _text(message: dict[str, Any]) -> str:
    return orjson.dumps(message).decode()
