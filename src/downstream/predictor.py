"""The predictor: requests forecasts for each feature row on Redis, stores them in gold_forecasts and publishes them."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any

import orjson
from prometheus_client import Counter, Gauge, Histogram

from downstream import forecast_rows
from downstream.conflating_queue import ConflatingQueue
from downstream.forecast_progress import ForecastProgress
from lakehouse import process
from lakehouse.background import BackgroundThreads
from lakehouse.errors import PoisonError, RetryableError
from lakehouse.freshness import FRESHNESS
from lakehouse.records import FeatureRow, Forecast, RowForecasts
from lakehouse.schema import GOLD_FORECASTS
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB
from lakehouse.stores.redis import FEATURES, FORECASTS, Redis

log = logging.getLogger(__name__)
PATHS = {"bid": "/predict_bid", "vol": "/predict_vol"}
TIMEOUT_S = 10.0
BATCH_ROWS = 64
MAX_WAITING = 512
# Longer than the API takes to start; a longer outage makes the process restart instead of looking healthy.
DEADLINE_S = 120.0
WATCH_S = 5.0

STORED = Counter("forecasts_stored_total", "Forecasts acknowledged by QuestDB.", ["target"])
SKIPPED = Counter("forecast_rows_skipped_total", "Feature rows skipped because newer ones of the symbol were waiting.")
REFUSED = Counter("forecast_rows_refused_total", "Feature rows the API could not forecast.", ["reason"])
LATENCY = Histogram(
    "event_to_forecast_seconds",
    "From the receipt of an event to its forecast in QuestDB.",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
STEP = Histogram(
    "predictor_step_seconds",
    "Time per batch in each step.",
    ["step"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0),
)
OVERDUE = Gauge("forecast_overdue_seconds", "For how long feature rows have arrived without a forecast.", ["symbol"])


class Api:
    """Client of the prediction endpoints, with one persistent connection each."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.api_url
        self._connections = {
            target: HTTPConnection(settings.api_host, settings.api_port, timeout=TIMEOUT_S) for target in PATHS
        }

    def close(self) -> None:
        """Closes the connections; the next request opens them again."""
        for connection in self._connections.values():
            connection.close()

    def predict(self, rows: Sequence[FeatureRow]) -> Mapping[str, Mapping[str, Any]]:
        """Requests both targets in parallel for all rows; returns the API's answer per target.

        Raises:
            RetryableError: the API is down or not ready. PoisonError: it refuses some row.
        """
        body = orjson.dumps(forecast_rows.request_body(rows))
        try:
            for target, connection in self._connections.items():
                connection.request("POST", PATHS[target], body, {"Content-Type": "application/json"})
            # Read all answers before checking any: one left in a connection would be taken for the next request's.
            answers = {target: _read(connection) for target, connection in self._connections.items()}
        except (OSError, HTTPException) as error:
            self.close()
            raise RetryableError(f"API at {self._url}: {error!r}") from error
        return {target: self._good(status, answer) for target, (status, answer) in answers.items()}

    def _good(self, status: int, answer: bytes) -> Mapping[str, Any]:
        if status == HTTPStatus.OK:
            return dict(orjson.loads(answer))
        text = f"API at {self._url}: HTTP {status}: {answer[:500].decode(errors='replace')}"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise RetryableError(text)
        raise PoisonError("refused", text)


def _read(connection: HTTPConnection) -> tuple[int, bytes]:
    response = connection.getresponse()
    return response.status, response.read()


class Predictor:
    """Processes queued rows in batches: forecast, store, publish. Retries each step until it succeeds."""

    def __init__(
        self, api: Api, database: QuestDB, redis: Redis, queue: ConflatingQueue, stop: threading.Event
    ) -> None:
        self._api = api
        self._database = database
        self._redis = redis
        self._queue = queue
        self._stop = stop
        self.progress = ForecastProgress()

    def run(self) -> None:
        """Runs until stopped; finishes the current batch first unless a server is down."""
        while not self._stop.is_set():
            if rows := self._queue.take(BATCH_ROWS, timeout_s=0.5):
                try:
                    self.handle(rows)
                except RetryableError:
                    log.warning("stopped with %d rows not forecast", len(rows))

    def handle(self, rows: Sequence[FeatureRow]) -> None:
        """Processes one batch; halves a refused batch until the bad row is found, counts it and skips it."""
        try:
            with STEP.labels("predict").time():
                answers = process.retrying(lambda: self._api.predict(rows), self._stop, "forecasting", longest_s=2.0)
                found = forecast_rows.forecasts(rows, answers, datetime.now(UTC))
        except PoisonError as error:
            if len(rows) > 1:
                middle = len(rows) // 2
                self.handle(rows[:middle])
                self.handle(rows[middle:])
                return
            REFUSED.labels(error.reason).inc()
            log.error("no forecast for %s seq %d: %s", rows[0].symbol, rows[0].seq, error)
            return
        self._store(rows, found)

    def _store(self, rows: Sequence[FeatureRow], found: Sequence[Forecast]) -> None:
        frame = forecast_rows.frame(found)
        with STEP.labels("store").time():
            process.retrying(lambda: self._database.write(GOLD_FORECASTS, frame), self._stop, "storing", longest_s=2.0)
        stored = datetime.now(UTC)
        for row in rows:
            self.progress.stored(row.symbol, (row.epoch, row.seq))
            LATENCY.observe((stored - row.received_at).total_seconds())
        for target in PATHS:
            STORED.labels(target).inc(sum(f.target == target for f in found))
        with STEP.labels("publish").time():
            self._publish(forecast_rows.by_row(rows, found))

    def _publish(self, made: Sequence[RowForecasts]) -> None:
        try:
            self._redis.publish(FORECASTS, made)
        except RetryableError as error:
            # Do not retry: by the time Redis is back, a newer forecast replaces this one.
            log.warning("forecasts stored but not published: %s", error)


def follow(redis: Redis, symbols: tuple[str, ...], queue: ConflatingQueue, stop: threading.Event) -> None:
    """Queues each feature row; after a disconnect, reads the keys again before the channels."""
    while not stop.is_set():
        try:
            process.retrying(redis.ping, stop, "following features", longest_s=2.0)
            for row in redis.follow(FEATURES, symbols):
                if stop.is_set():
                    return
                if row is not None:
                    SKIPPED.inc(queue.put(row))
                    FRESHNESS.labels(row.symbol).set((datetime.now(UTC) - row.received_at).total_seconds())
        except RetryableError as error:
            log.warning("lost the feature subscription: %s", error)


def watch(redis: Redis, symbols: tuple[str, ...], progress: ForecastProgress, stop: threading.Event) -> None:
    """Compares the newest rows on Redis with those forecast; ends the process when forecasts stop for any reason.

    Raises:
        RetryableError: rows of a symbol arrived for `DEADLINE_S` without a forecast. FatalError: Redis refuses us.
    """
    while not stop.wait(WATCH_S):
        for symbol in symbols:
            try:
                row = redis.latest(FEATURES, symbol)
            except RetryableError as error:
                log.debug("cannot check for overdue forecasts: %s", error)
                continue
            if row is not None:
                overdue_s = progress.overdue_s(symbol, (row.epoch, row.seq), time.monotonic())
                OVERDUE.labels(symbol).set(overdue_s)
                if overdue_s > DEADLINE_S:
                    raise RetryableError(
                        f"no forecast of {symbol} for {overdue_s:.0f} s although feature rows arrive; "
                        "the log above and the API's /readyz say why; restarting"
                    )


def main(settings: Settings, stop: threading.Event) -> None:
    """Builds the clients and runs until stopped.

    Raises:
        LakeError: Redis refuses us, or forecasts stop.
    """
    api, database = Api(settings), QuestDB(settings)
    # One connection subscribes, the other publishes.
    listening, publishing = Redis(settings), Redis(settings)
    queue, threads = ConflatingQueue(MAX_WAITING), BackgroundThreads(stop)
    try:
        process.retrying(lambda: database.migrate([GOLD_FORECASTS], ()), stop, "migrating")
        predictor = Predictor(api, database, publishing, queue, stop)
        threads.start("follow", lambda: follow(listening, settings.symbols, queue, stop))
        threads.start("watch", lambda: watch(publishing, settings.symbols, predictor.progress, stop))
        predictor.run()
        threads.join(timeout_s=3.0)
    finally:
        for client in (api, database, listening, publishing):
            client.close()
    threads.check()
