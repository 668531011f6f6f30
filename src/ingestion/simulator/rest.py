"""The simulated public REST API: the same market, behind Kraken's rate limit and proxy cache; pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import orjson

from ingestion.simulator.blocks import Ledger, Trades, first_trades, last_quote, last_trades
from ingestion.simulator.noise import bits, key_of
from ingestion.simulator.pairs import Pair
from ingestion.simulator.wire import decimal
from lakehouse.arrays import Ints

PREFIX = "/0/public/"
TOO_MANY = "EGeneral:Too many requests"
_MAX_ROWS = 1000
_CACHE_US = 2_000_000
_DELAY_KEY = key_of("REST is a little later")
_Query = Mapping[str, str]


class RestError(Exception):
    """The request is refused; the text is Kraken's."""


@dataclass(slots=True)
class Throttle:
    """A counter per key that falls by one per second; a call beyond ``burst`` is refused but counted, up to a limit.

    A burst of ``burst`` calls passes, one call per second is sustainable, and ``burst`` seconds of silence reset it.
    """

    burst: float
    _levels: dict[str, tuple[float, int]] = field(default_factory=dict)

    def allows(self, key: str, now_us: int) -> bool:
        """Counts a call at ``now_us``; False: too many."""
        level, at = self._levels.get(key, (0.0, now_us))
        level = max(0.0, level - (now_us - at) / 1e6) + 1.0
        self._levels[key] = min(level, self.burst + 1.0), now_us
        return level <= self.burst


class RestApi:
    """Answers URLs.

    Args:
        ledger: what happens on the market.
        now_us: the clock, µs since 1970.
        system: the state of the exchange, as in the status channel.
        burst: how many calls on a pair may come at once.
    """

    def __init__(self, ledger: Ledger, now_us: Callable[[], int], system: Callable[[], str], burst: float) -> None:
        self._ledger, self._now_us, self._system = ledger, now_us, system
        self._throttle = Throttle(burst)
        self._cache: dict[str, tuple[int, bytes]] = {}
        pairs = ledger.pairs.values()
        self._names = {name: p for p in pairs for name in (p.altname, p.rest_key, p.symbol)}
        self._methods: dict[str, Callable[[_Query], bytes]] = {
            "Trades": self._trades,
            "Ticker": self._ticker,
            "AssetPairs": self._asset_pairs,
            "Time": self._time,
            "SystemStatus": self._system_status,
        }

    def answer(self, url: str) -> tuple[bytes, str]:
        """The body for a path with query (status 200, errors too), and ``ok``, ``cached`` or the error."""
        now = self._now_us()
        at, body = self._cache.get(url, (now - _CACHE_US, b""))
        if now - at < _CACHE_US:
            return body, "cached"
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            result = self._call(parts.path.removeprefix(PREFIX), query, now)
        except RestError as error:
            return refused(str(error)), str(error)
        body = b'{"error":[],"result":' + result + b"}"
        self._cache = {u: kept for u, kept in self._cache.items() if now - kept[0] < _CACHE_US} | {url: (now, body)}
        return body, "ok"

    def _call(self, method: str, query: _Query, now: int) -> bytes:
        if method not in self._methods:
            raise RestError("EGeneral:Unknown method")
        key = f"{method} {self._pair(query).symbol}" if method == "Trades" else "others"
        if not self._throttle.allows(key, now):
            raise RestError(TOO_MANY)
        return self._methods[method](query)

    def _pair(self, query: _Query) -> Pair:
        if "pair" not in query:
            raise RestError("EGeneral:Invalid arguments")
        pair = self._names.get(query["pair"])
        if pair is None:
            raise RestError("EQuery:Unknown asset pair")
        return pair

    def _asked(self, query: _Query) -> list[Pair]:
        """The pairs of a comma-separated list; all where it is left out."""
        if "pair" not in query:
            return list(self._ledger.pairs.values())
        return [self._pair({"pair": name}) for name in query["pair"].split(",")]

    def _trades(self, query: _Query) -> bytes:
        pair, count, now = self._pair(query), query.get("count", str(_MAX_ROWS)), self._now_us()
        if not (count.isascii() and count.isdigit() and 1 <= int(count) <= _MAX_ROWS):
            raise RestError("EGeneral:Invalid arguments:count")
        if "since" in query:
            since = _since_ns(query["since"])
            trades = first_trades(self._ledger, pair.symbol, _first_us(since), now, int(count))
        else:
            since, trades = now * 1000, last_trades(self._ledger, pair.symbol, now, int(count))
        times = rest_times(trades.ts).tolist()
        rows = ",".join(_rows(pair, trades, times))
        return f'{{"{pair.rest_key}":[{rows}],"last":"{times[-1] if times else since}"}}'.encode()

    def _ticker(self, query: _Query) -> bytes:
        now, result = self._now_us(), {}
        for pair in self._asked(query):
            quotes = last_quote(self._ledger, pair.symbol, now)
            if not len(quotes):
                continue
            q = {name: int(getattr(quotes, name)[0]) for name in quotes.__dataclass_fields__}
            price = {n: _price(pair, v) for n, v in q.items()}
            lots = {n: decimal(q[n], pair.qty_digits) for n in ("bid_qty", "ask_qty", "volume")}
            trade = last_trades(self._ledger, pair.symbol, now, 1)
            # The simulator has no statistics of the calendar day: both columns are those of the last 24 hours.
            result[pair.rest_key] = {
                "a": [price["ask"], str(q["ask_qty"] // 10**pair.qty_digits), lots["ask_qty"]],
                "b": [price["bid"], str(q["bid_qty"] // 10**pair.qty_digits), lots["bid_qty"]],
                "c": [price["last"], decimal(int(trade.qty[0]) if len(trade) else 0, pair.qty_digits)],
                "v": [lots["volume"]] * 2,
                "p": [price["vwap"]] * 2,
                "t": [q["trades"]] * 2,
                "l": [price["low"]] * 2,
                "h": [price["high"]] * 2,
                "o": _price(pair, q["last"] - q["change"]),
            }
        return orjson.dumps(result)

    def _asset_pairs(self, query: _Query) -> bytes:
        return orjson.dumps({pair.rest_key: _asset_pair(pair) for pair in self._asked(query)})

    def _time(self, _query: _Query) -> bytes:
        now = datetime.fromtimestamp(self._now_us() // 1_000_000, UTC)
        return orjson.dumps({"unixtime": int(now.timestamp()), "rfc1123": f"{now:%a, %d %b %y %H:%M:%S} +0000"})

    def _system_status(self, _query: _Query) -> bytes:
        now = datetime.fromtimestamp(self._now_us() // 1_000_000, UTC)
        status = {"status": self._system(), "timestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
        return orjson.dumps(status | {"upcoming_maintenance": [], "emergency": []})


def refused(error: str) -> bytes:
    """The envelope of an error; it goes out with status 200, as everything does."""
    return orjson.dumps({"error": [error]})


def rest_times(ts: Ints) -> Ints:
    """REST's time of trades in ns: 0.7 to 1.1 µs after the WebSocket's ``ts`` (µs), the same for equal ``ts``."""
    return ts * 1000 + 700 + (bits(_DELAY_KEY, ts) % np.uint64(401)).astype(np.int64)


def _first_us(since_ns: int) -> int:
    """The earliest time on the WebSocket (µs) whose time on REST is ``since_ns`` or later: the boundary is included."""
    candidates = max(0, since_ns - 1100) // 1000 + np.arange(3)
    return int(candidates[np.searchsorted(rest_times(candidates), since_ns)])


def _since_ns(text: str) -> int:
    """``since`` in ns; it may be given in ns, or in (fractional) seconds."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise RestError("EGeneral:Invalid arguments:since") from None
    if not (value.is_finite() and 0 <= value < 2**63):
        raise RestError("EGeneral:Invalid arguments:since")
    return int(value if value >= 10**14 else min(value * 10**9, Decimal(2**62)))


def _rows(pair: Pair, trades: Trades, times: list[int]) -> list[str]:
    columns = (trades.price.tolist(), trades.qty.tolist(), times, trades.buy.tolist(), trades.market.tolist())
    return [
        f'["{_price(pair, price)}","{decimal(qty, pair.qty_digits)}",{time // 10**9}.{time % 10**9 // 100:07d},'
        f'"{"b" if buy else "s"}","{"m" if market else "l"}","",{trade_id}]'
        for price, qty, time, buy, market, trade_id in zip(*columns, trades.trade_id.tolist(), strict=True)
    ]


def _price(pair: Pair, ticks: int) -> str:
    """A price with REST's decimals, which may be more than the WebSocket's."""
    return decimal(ticks * 10 ** (pair.rest_digits - pair.price_digits), pair.rest_digits)


def _asset_pair(pair: Pair) -> dict[str, object]:
    base, quote = pair.symbol.split("/")
    return {
        "altname": pair.altname,
        "wsname": pair.wsname,
        "aclass_base": "currency",
        "base": base,
        "aclass_quote": "currency",
        "quote": quote,
        "lot": "unit",
        "pair_decimals": pair.price_digits,
        "lot_decimals": pair.qty_digits,
        "lot_multiplier": 1,
        "fees": [],
        "fees_maker": [],
        "ordermin": f"{pair.qty_min:f}",
        "tick_size": decimal(1, pair.price_digits),
        "status": "online",
    }
