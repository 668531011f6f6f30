"""The page's routes: static files, event stream, state for polling clients, and download of history."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import orjson
from flask import Blueprint, Response, request, send_from_directory

from forecast.model.targets import TARGETS
from forecast.page import downloads
from forecast.page.latest_values import LatestValues
from forecast.page.queries import Queries
from forecast.serving import metrics, problems
from forecast.serving.bodies import invalid
from forecast.serving.problems import Problem
from lakehouse.errors import LakeError
from lakehouse.schema import OHLC_INTERVALS
from lakehouse.settings import HORIZONS_S, Settings
from lakehouse.times import parse_utc

T = TypeVar("T")
STATIC = Path(__file__).parent / "static"
# Each open stream holds one of Waitress' threads; above this a page polls instead.
MAX_STREAMS = 16
HEARTBEAT_S = 10.0
BEAT = b"event: beat\ndata: {}\n\n"
# The shortest pause between two writes to one page: what changes meanwhile is sent once.
PACE_S = 0.2
MAX_CANDLES = 20_000
MAX_TRACK = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def blueprint(settings: Settings, board: LatestValues, queries: Queries) -> Blueprint:
    """The routes over the given store and queries."""
    page = Blueprint("page", __name__)
    _files(page)
    _live(page, settings, board)
    _history(page, settings, queries)
    return page


def _files(page: Blueprint) -> None:
    @page.get("/")
    def index() -> Response:
        return _file("index.html")

    @page.get("/static/<path:name>")
    def static(name: str) -> Response:
        return _file(name)


def _file(name: str) -> Response:
    response = send_from_directory(STATIC, name, max_age=0)
    response.headers.update(HEADERS)
    return response


def _live(page: Blueprint, settings: Settings, board: LatestValues) -> None:
    places = threading.BoundedSemaphore(MAX_STREAMS)

    @page.get("/live/config")
    def config() -> Response:
        return _json(
            {
                "source": settings.source,
                "symbols": settings.symbols,
                "intervals": list(OHLC_INTERVALS),
                "horizons_s": HORIZONS_S,
                "feature_interval_ms": settings.feature_interval_ms,
            }
        )

    @page.get("/live/state")
    def state() -> Response:
        entries = b",".join(_entry(n.event, n.data) for n in board.since(0, timeout_s=0))
        return Response(b'{"now":%b,"news":[%b]}' % (orjson.dumps(_now()), entries), mimetype="application/json")

    @page.get("/live/stream")
    def stream() -> Response:
        if not places.acquire(blocking=False):
            raise problems.unavailable(f"{MAX_STREAMS} streams are open; poll /live/state instead", retry_s=30)
        metrics.STREAMS.inc()
        response = Response(_events(board), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})
        response.call_on_close(metrics.STREAMS.dec)
        response.call_on_close(places.release)
        return response


def _events(board: LatestValues) -> Iterator[bytes]:
    """Server-sent events: the whole store, then updates, and a heartbeat that detects closed connections."""
    yield b"retry: 2000\n\n"
    serial = 0
    while not board.closed:
        news = board.since(serial, HEARTBEAT_S)
        serial = max((n.serial for n in news), default=serial)
        yield b"".join(b"event: %b\ndata: %b\n\n" % (n.event.encode(), n.data) for n in news) or BEAT
        time.sleep(PACE_S)


def _history(page: Blueprint, settings: Settings, queries: Queries) -> None:
    @page.get("/history/candles")
    def candles() -> Response:
        symbol, interval = _symbol(settings), _one_of("interval", OHLC_INTERVALS)
        kind = _one_of("format", downloads.TYPES, "json")
        start, end = _span(timedelta(days=1))
        found = _asking(lambda: queries.candles(symbol, interval, start, end, MAX_CANDLES + 1))
        if len(found) > MAX_CANDLES:
            raise invalid("query/from", f"more than {MAX_CANDLES} candles: ask for a shorter span or longer candles")
        response = Response(downloads.encode(found, kind), content_type=downloads.TYPES[kind])
        if kind != "json":
            name = f"{symbol.replace('/', '-')}_{interval}_{start:%Y%m%dT%H%MZ}.{kind}"
            response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    @page.get("/history/forecasts")
    def forecasts() -> Response:
        symbol, target = _symbol(settings), next(t for t in TARGETS if t == _one_of("target", TARGETS))
        horizon = int(_one_of("horizon_s", [str(h) for h in HORIZONS_S]))
        start, end = _span(timedelta(hours=1))
        if end - start > MAX_TRACK:
            raise invalid("query/from", "at most a day at once")
        return _json(_asking(lambda: queries.track(symbol, target, horizon, start, end)))


def _symbol(settings: Settings) -> str:
    symbol = request.args.get("symbol", "")
    if symbol not in settings.symbols:
        known = ", ".join(settings.symbols)
        raise Problem(HTTPStatus.NOT_FOUND, "unknown-symbol", f"unknown symbol; this lake has {known}")
    return symbol


def _one_of(name: str, known: Any, default: str = "") -> str:
    value = request.args.get(name, default)
    if value not in known:
        raise invalid(f"query/{name}", f"want one of {', '.join(known)}")
    return value


def _span(default: timedelta) -> tuple[datetime, datetime]:
    end = _time("to") or _now()
    if end < EPOCH + default:
        raise invalid("query/to", "want a time after 1970")
    start = _time("from") or end - default
    if not EPOCH <= start < end:
        raise invalid("query/from", "want a time from 1970 on and before `to`")
    return start, end


def _time(name: str) -> datetime | None:
    text = request.args.get(name)
    if text is None:
        return None
    try:
        return parse_utc(text)
    except (ValueError, OverflowError):
        raise invalid(f"query/{name}", "want an RFC 3339 time or date, e.g. 2026-01-31T12:00:00Z") from None


def _asking(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except LakeError as error:
        raise problems.unavailable(str(error)) from error


def _now() -> datetime:
    return datetime.now(UTC)


def _entry(event: str, data: bytes) -> bytes:
    return b'{"event":%b,"data":%b}' % (orjson.dumps(event), data)


def _json(body: object) -> Response:
    return Response(orjson.dumps(body, option=orjson.OPT_UTC_Z), mimetype="application/json")
