"""Background threads that fill the page's store: Redis subscriptions, and polled QuestDB queries."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from forecast.page.latest_values import LatestValues
from forecast.page.queries import Queries
from forecast.serving.models_in_service import ModelsInService
from lakehouse import process
from lakehouse.background import BackgroundThreads
from lakehouse.errors import FatalError, LakeError, RetryableError
from lakehouse.messages import encode_forecasts
from lakehouse.records import FeatureRow, RowForecasts
from lakehouse.settings import Settings
from lakehouse.stores.redis import FEATURES, FORECASTS, Channel, Redis, SentRow
from lakehouse.times import format_time

log = logging.getLogger(__name__)
CANDLES_S = 2.0
STATUS_S = 5.0
REFUSED_S = 5.0
PRICE_FIELDS = ("bid", "ask", "mid", "last")


class Updaters:
    """The threads behind the page; `stop` ends them."""

    def __init__(self, settings: Settings, board: LatestValues, queries: Queries, models: ModelsInService) -> None:
        self._settings = settings
        self._board = board
        self._queries = queries
        self._models = models
        self._stop = threading.Event()
        self._listeners = (Redis(settings), Redis(settings))

    def start(self, threads: BackgroundThreads) -> None:
        """Starts the threads."""
        features, forecasts = self._listeners
        threads.start("page-features", lambda: self._follow(features, FEATURES, self._price))
        threads.start("page-forecasts", lambda: self._follow(forecasts, FORECASTS, self._forecast))
        threads.start("page-figures", self._ask)

    def stop(self) -> None:
        """Ends the threads and every stream."""
        self._stop.set()
        self._board.close()
        for listener in self._listeners:
            listener.close()

    def _follow(self, redis: Redis, channel: Channel[SentRow], post: Callable[[SentRow], None]) -> None:
        while not self._stop.is_set():
            try:
                process.retrying(redis.ping, self._stop, f"the page's {channel.name}", longest_s=5.0)
                for row in redis.follow(channel, self._settings.symbols):
                    if self._stop.is_set():
                        return
                    if row is not None:
                        post(row)
            except RetryableError as error:
                log.info("the page lost the %s: %s", channel.name, error)
            except FatalError as error:
                # /readyz says so, too; requests that carry their features are answered all the same.
                log.error("the page has no %s: %s", channel.name, error)
                self._stop.wait(REFUSED_S)

    def _price(self, row: FeatureRow) -> None:
        told = {"symbol": row.symbol, "complete": row.complete, "seq": row.seq}
        times = {"ts": format_time(row.ts), "received_at": format_time(row.received_at)}
        self._board.post("price", row.symbol, told | times | {name: row.values.get(name) for name in PRICE_FIELDS})

    def _forecast(self, made: RowForecasts) -> None:
        self._board.post("forecast", made.symbol, orjson.Fragment(encode_forecasts(made)))

    def _ask(self) -> None:
        next_status = 0.0
        while not self._stop.is_set():
            try:
                for symbol, candles in self._queries.running_candles(self._settings.symbols).items():
                    if candles:
                        self._board.post("candles", symbol, {"symbol": symbol, "interval": "1m", "candles": candles})
                if time.monotonic() >= next_status:
                    self._board.post("status", "", status(self._queries, self._models))
                    next_status = time.monotonic() + STATUS_S
            except LakeError as error:
                # Away, or its tables are not made yet: the page shows the last known and its age.
                log.debug("the page asks in vain: %s", error)
            self._stop.wait(CANDLES_S)


def status(queries: Queries, models: ModelsInService) -> dict[str, Any]:
    """Models, live skill, completeness and latency, and when they were looked up (UTC)."""
    return {
        "now": datetime.now(UTC),
        "models": models.listing(),
        "skill": {window: queries.skill(window) for window in ("1h", "1d")},
        "feed": queries.feed(),
        "latency": queries.latency(),
    }
