"""Messages of Kraken's public REST API: the envelope and its errors, pages of trades; pure."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeGuard

import orjson

from ingestion.kraken.ws_messages import parse_trade
from lakehouse.errors import FatalError, LakeError, PoisonError, RetryableError
from lakehouse.records import Source, Trade
from lakehouse.times import format_time, utc

_SIDES = {"b": "buy", "s": "sell"}
_ORD_TYPES = {"m": "market", "l": "limit"}
_THROTTLES = ("EGeneral:Too many requests", "EAPI:Rate limit exceeded", "EGeneral:Temporary lockout")
_WRONG_REQUESTS = (
    "EQuery:",
    "EGeneral:Invalid arguments",
    "EGeneral:Unknown method",
    "EGeneral:Permission denied",
    "EAPI:Invalid",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ThrottledError(RetryableError):
    """Too many requests: wait until ``retry_at`` (UTC), or some tens of seconds if it is None."""

    def __init__(self, detail: str, retry_at: datetime | None = None) -> None:
        super().__init__(detail)
        self.retry_at = retry_at


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that is not a valid trade: its JSON text for the dead-letter topic, and what is wrong with it."""

    payload: bytes
    error: PoisonError


@dataclass(frozen=True, slots=True)
class TradesPage:
    """One page of ``Trades``: rows in ascending order, and ``last``, the ``since`` (ns) that fetches the next page.

    ``since`` is inclusive: the next page repeats the boundary trade. ``last`` is None on an empty page without one.
    """

    trades: tuple[Trade, ...]
    last: int | None
    bad: tuple[RejectedRow, ...] = ()


def parse_result(body: bytes) -> dict[str, Any]:
    """The ``result`` of a REST answer with status 200 (Kraken reports its errors with status 200 too).

    >>> parse_result(b'{"error":[],"result":{"unixtime":1790331330}}')
    {'unixtime': 1790331330}
    >>> parse_result(b'{"error":["EGeneral:Too many requests"]}')
    Traceback (most recent call last):
    ingestion.kraken.rest_messages.ThrottledError: Kraken REST: EGeneral:Too many requests

    Raises:
        ThrottledError, RetryableError, FatalError: as `classify` decides; RetryableError also for a body that is not
            Kraken's envelope, which comes from the proxy before the API.
    """
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError:
        envelope = None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("error"), list):
        raise RetryableError(f"Kraken REST: the response is not Kraken's envelope: {body[:200]!r}")
    errors = [str(e) for e in envelope["error"] if not str(e).startswith("W")]
    if errors:
        raise classify(errors)
    result = envelope.get("result")
    if not isinstance(result, dict):
        raise RetryableError(f"Kraken REST: no result in the response: {body[:200]!r}")
    return result


def classify(errors: Sequence[str]) -> LakeError:
    """What to do about the envelope's ``error`` strings (``<E|W><Category>:<text>[:<extra>]``).

    Throttled: the per-IP, per-key and lockout limits, and ``EService:Throttled: <unix time>``. Fatal: the request
    itself is wrong, and will be wrong again. Retryable: all others, known or not, so that a passing error ends no walk
    through years of history.
    """
    text = "Kraken REST: " + ", ".join(errors)
    # Kraken's own documents write some of these with blanks around the colons.
    errors = [re.sub(r"\s*:\s*", ":", error.strip()) for error in errors]
    for error in errors:
        if error.startswith("EService:Throttled"):
            return ThrottledError(text, _retry_at(error.rpartition(":")[2].strip()))
        if error.startswith(_THROTTLES):
            return ThrottledError(text)
    return FatalError(text) if any(error.startswith(_WRONG_REQUESTS) for error in errors) else RetryableError(text)


def refused(status: int, text: str, retry_after: str, now: datetime) -> RetryableError:
    """What to do about an HTTP status other than 200, with its ``Retry-After`` (seconds or a date) if there is one.

    >>> refused(429, "slow down", "30", datetime(2026, 1, 1, tzinfo=UTC)).retry_at
    datetime.datetime(2026, 1, 1, 0, 0, 30, tzinfo=datetime.timezone.utc)
    """
    detail = f"Kraken REST: HTTP {status}: {' '.join(text.split())[:200]}"
    at = _retry_after(retry_after.strip(), now)
    return (
        ThrottledError(detail, at)
        if at is not None or status == HTTPStatus.TOO_MANY_REQUESTS
        else RetryableError(detail)
    )


def _retry_after(text: str, now: datetime) -> datetime | None:
    if text.isascii() and text.isdigit() and len(text) < 9:
        return now + timedelta(seconds=int(text))
    try:
        return utc(parsedate_to_datetime(text))
    except (TypeError, ValueError):
        return None


def _retry_at(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if text.isascii() and text.isdigit() and len(text) < 12 else None


def parse_trades_page(body: bytes, symbol: str, received_at: datetime, source: Source = "rest") -> TradesPage:
    """Parses a response of ``GET /Trades``; rows that are not valid trades go to ``bad``, the rest is kept.

    Sample: ``{"error":[],"result":{"XXBTZUSD":[["64249.90000","0.01250000",1790331321.0045187,"s","m","",91234567],
    ["64250.10000","0.00031000",1790331329.7719039,"b","l","",91234568]],"last":"1790331329771903912"}}``

    Raises:
        LakeError: as `parse_result`; RetryableError also where the result holds no list of rows.
    """
    result = parse_result(body)
    lists = [value for name, value in result.items() if name != "last"]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise RetryableError(f"Kraken REST: want one list of trades in the result, got {sorted(result)!r:.200}")
    trades, bad = [], []
    for row in lists[0]:
        try:
            trades.append(parse_row(row, symbol, received_at, source))
        except PoisonError as error:
            bad.append(RejectedRow(orjson.dumps(row), error))
    return TradesPage(tuple(trades), _last(result, lists[0]), tuple(bad))


def parse_row(row: object, symbol: str, received_at: datetime, source: Source = "rest") -> Trade:
    """One row ``[price, volume, time, side, ordertype, misc, trade_id]`` as a trade.

    The time is unix seconds with up to 7 decimals; it is some 0.7 to 1.1 µs later than the WebSocket's time of the same
    trade, so the two are joined on ``trade_id`` only.

    Raises:
        PoisonError: the row is no such list.
    """
    if not isinstance(row, list) or len(row) < 7:
        raise PoisonError("bad row", f"want 7 fields, got {row!r:.200}")
    if row[6] == 0:
        # Of several rows with id 0, only the first would pass the deduplicator; the others would be lost silently.
        raise PoisonError(
            "no_trade_id", f"Kraken returned this trade without an id: {row!r:.200}; replay it with --payload and an id"
        )
    item: Mapping[str, Any] = {
        "symbol": symbol,
        "price": _decimal(row[0]),
        "qty": _decimal(row[1]),
        "timestamp": _rfc3339(row[2]),
        "side": _SIDES.get(str(row[3])),
        "ord_type": _ORD_TYPES.get(str(row[4]), str(row[4])),
        "trade_id": row[6],
    }
    return parse_trade(item, received_at, source)


def _last(result: Mapping[str, Any], rows: Sequence[object]) -> int | None:
    """Kraken's ``last``, or a time just before the last row's, good or bad, since its decimals are rounded."""
    last = str(result.get("last", ""))
    if last.isascii() and last.isdigit():
        return int(last)
    times = (row[2] for row in reversed(rows) if isinstance(row, list) and len(row) > 2)
    newest = next((time for time in times if _is_time(time)), None)
    return None if newest is None else (math.floor(newest * 1e6) - 1) * 1000


def _decimal(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _rfc3339(value: object) -> str | None:
    return format_time(_EPOCH + timedelta(microseconds=round(value * 1e6))) if _is_time(value) else None


def _is_time(value: object) -> TypeGuard[float]:
    """Whether a value is Unix seconds within the range of a date."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11
