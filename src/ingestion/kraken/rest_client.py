"""Client of Kraken's public REST API: fetches pages of trades within Kraken's rate limits."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
from prometheus_client import Counter

from ingestion.kraken.rest_messages import ThrottledError, TradesPage, parse_trades_page, refused
from lakehouse.errors import FatalError, RetryableError
from lakehouse.symbols import rest_pair

PAGE = 1000
REST_CALLS = Counter("rest_calls_total", "Calls of Kraken's REST API by outcome.", ["outcome"])
TIMEOUT_S = 20.0


class Pace:
    """Rate limiter per pair: calls are ``interval_s`` apart, further while Kraken or the network fails.

    A throttled call lengthens the interval; each answer shortens it again, down to ``interval_s``. Kraken limits
    `Trades` per address and pair, so pairs do not wait for each other; a throttled call delays them all.
    """

    FIRST_PAUSE_S, MAX_S = 5.0, 60.0
    MAX_REFUSED_S = 600.0
    SLOWEST_S = 3.0
    SLOWER, FASTER = 1.5, 0.98

    def __init__(self, interval_s: float) -> None:
        self._least = self._interval = interval_s
        self._next: dict[str, float] = {}
        self._all = 0.0
        self._pause = self.FIRST_PAUSE_S
        self._refused: dict[str, float] = {}

    def wait_s(self, pair: str, now: float) -> float:
        """Seconds until the pair may be requested; 0 or less means now."""
        return max(self._next.get(pair, 0.0), self._all) - now

    def asked(self, pair: str, now: float) -> None:
        """A call began."""
        self._next[pair] = now + self._interval

    def answered(self, pair: str) -> None:
        """A call succeeded."""
        self._pause = self.FIRST_PAUSE_S
        self._interval = max(self._interval * self.FASTER, self._least)
        self._refused.pop(pair, None)

    def refused(self, pair: str, now: float) -> None:
        """Kraken does not know the pair (any more): only this pair waits, longer each time."""
        pause = self._refused.get(pair, self.FIRST_PAUSE_S)
        self._next[pair] = now + max(self._interval, pause)
        self._refused[pair] = min(pause * 2, self.MAX_REFUSED_S)

    def failed(self, now: float, at_least_s: float = 0.0) -> None:
        """A call failed or was throttled: all pairs wait, longer each time."""
        self._all = now + max(self._pause, at_least_s)
        self._pause = min(self._pause * 2, self.MAX_S)

    def slow_down(self) -> None:
        """Kraken throttled us: lengthens the interval, since long downloads need more time between calls."""
        self._interval = min(self._interval * self.SLOWER, max(self._interval, self.SLOWEST_S))


class KrakenRest:
    """Fetches pages of `Trades`; not thread-safe.

    Args:
        http: a client whose base URL is that of the public methods.
        interval_s: least time between two calls for the same pair.
        clock: monotonic seconds.
        now: our clock, UTC.
    """

    def __init__(
        self,
        http: httpx.Client,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._http = http
        self._clock = clock
        self._now = now
        self._pace = Pace(interval_s)

    def wait_s(self, symbol: str) -> float:
        """Seconds until the symbol may be requested; 0 or less means now."""
        return self._pace.wait_s(rest_pair(symbol), self._clock())

    def trades(self, symbol: str, since_ns: int) -> tuple[TradesPage, bytes]:
        """One page of trades from ``since_ns`` on (nanoseconds since 1970, inclusive), and the raw response.

        Call it only when `wait_s` allows.

        Raises:
            RetryableError: Kraken is down or throttles us; `wait_s` says for how long.
            FatalError: Kraken does not know the pair; retry, if at all, after `wait_s`.
        """
        pair = rest_pair(symbol)
        try:
            body = self._body(pair, since_ns)
            page = parse_trades_page(body, symbol, self._now())
        except ThrottledError as error:
            wait = (error.retry_at - self._now()).total_seconds() if error.retry_at else 0.0
            self._pace.failed(self._clock(), wait)
            self._pace.slow_down()
            REST_CALLS.labels("throttled").inc()
            raise
        except RetryableError:
            self._pace.failed(self._clock())
            REST_CALLS.labels("failed").inc()
            raise
        except FatalError:
            self._pace.refused(pair, self._clock())
            REST_CALLS.labels("failed").inc()
            raise
        self._pace.answered(pair)
        REST_CALLS.labels("ok").inc()
        return page, body

    def _body(self, pair: str, since_ns: int) -> bytes:
        self._pace.asked(pair, self._clock())
        try:
            answer = self._http.get("/Trades", params={"pair": pair, "since": str(since_ns), "count": str(PAGE)})
        except httpx.RequestError as error:  # not only transport errors: a proxy may send a body that cannot be decoded
            raise RetryableError(f"Kraken REST: {error!r}") from error
        if answer.status_code != httpx.codes.OK:
            raise refused(answer.status_code, answer.text, answer.headers.get("retry-after", ""), self._now())
        return answer.content


def http_client(base_url: str) -> httpx.Client:
    """An HTTP client for the public methods below ``base_url``."""
    return httpx.Client(base_url=base_url, timeout=TIMEOUT_S, headers={"user-agent": "tradelake"})
