"""Kraken's REST over a list of trade ids, in memory."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx

from ingestion.kraken.rest_client import PAGE, KrakenRest

START = datetime(2026, 9, 25, tzinfo=UTC)

Answer = Callable[[httpx.Request], httpx.Response]


def at(trade_id: int) -> datetime:
    return START + timedelta(milliseconds=10 * trade_id)


class Kraken:
    """`Trades` over the ids it has, as Kraken pages them: inclusive `since`, at most `page` rows, string `last`."""

    def __init__(self, ids: list[int], page: int = PAGE) -> None:
        self.ids, self.page = ids, page
        self.asked: list[int] = []
        self.refusals: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        since = int(request.url.params["since"])
        assert request.url.params["pair"] == "XBTUSD"
        self.asked.append(since)
        if self.refusals:
            return httpx.Response(200, json={"error": [self.refusals.pop(0)]})
        times = {i: int(at(i).timestamp() * 1000) * 10**6 + 1000 for i in self.ids}
        chosen = [i for i in self.ids if times[i] >= since][: self.page]
        rows = [["100.0", "1.0", times[i] / 1e9, "b", "m", "", i] for i in chosen]
        last = str(times[chosen[-1]] if chosen else since)
        return httpx.Response(200, json={"error": [], "result": {"XXBTZUSD": rows, "last": last}})


def rest_of(answer: Answer, clock: Callable[[], float] = lambda: 0.0) -> KrakenRest:
    http = httpx.Client(base_url="http://kraken/0/public", transport=httpx.MockTransport(answer))
    return KrakenRest(http, 1.0, clock, lambda: START + timedelta(hours=1))
