"""The scorer: writes each due forecast with its outcome to gold_forecast_scores and exports live skill."""

import logging
import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import polars as pl
from prometheus_client import Counter, Gauge

from forecast.data.dataset import times
from forecast.data.prices import read_path
from forecast.monitoring import lake_facts
from forecast.monitoring.recalibration import Calibrator, ask_api
from forecast.monitoring.scoring import scores
from lakehouse import process
from lakehouse.background import BackgroundThreads
from lakehouse.errors import RetryableError
from lakehouse.schema import GOLD_CALIBRATIONS, GOLD_FORECAST_SCORES, GOLD_FORECASTS, GOLD_QUALITY
from lakehouse.settings import HORIZONS_S, Settings
from lakehouse.stores.bronze import instant, text
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
TABLES = (GOLD_FORECASTS, GOLD_FORECAST_SCORES, GOLD_CALIBRATIONS, GOLD_QUALITY)
EVERY_S = 10.0
JOIN_S = 5.0
MAX_FORECASTS = 50_000
# What is visible in one table may not yet be in the other: so much newer must the newest event be than the due time.
SETTLE = timedelta(seconds=2)
WINDOWS = ("1h", "1d")
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

SCORED = Counter("forecasts_scored_total", "Forecasts judged by what happened.", ["symbol"])
UNSCORED = Counter("forecasts_unscored_total", "Due forecasts without a fresh truth.", ["symbol"])
SKILL = Gauge(
    "forecast_skill_ratio",
    "1 - loss / loss of the baseline: above 0 the forecast is the better one.",
    ["target", "horizon", "symbol", "window"],
)
NEWEST = Gauge("forecast_scored_timestamp_seconds", "Time of the newest forecast that was judged.", ["symbol"])


class Scorer:
    """Scores due forecasts symbol by symbol; scoring one twice is idempotent."""

    def __init__(self, database: QuestDB, step_s: int) -> None:
        self._database = database
        self._step_s = step_s
        # Per symbol and horizon: time of the newest forecast looked at, and whether all of that time are scored.
        self._done: dict[tuple[str, int], tuple[datetime, bool]] = {}

    def score(self, symbol: str) -> int:
        """Scores all due forecasts; returns their number.

        Raises:
            RetryableError: QuestDB is away; nothing is skipped by trying again.
        """
        judged = 0
        while True:
            due = self._due(symbol)
            if due.is_empty():
                return judged
            newest = due.item(-1, "ts")
            end = newest + timedelta(seconds=max(HORIZONS_S)) + SETTLE
            path = read_path(self._database, symbol, times(due), end)
            found = scores(due, path, self._step_s)
            self._database.write(GOLD_FORECAST_SCORES, found)
            SCORED.labels(symbol).inc(found.height)
            UNSCORED.labels(symbol).inc(due.height - found.height)
            for horizon, seen in due.group_by("horizon_s").agg(pl.col("ts").max()).iter_rows():
                self._done[symbol, horizon] = (seen, True)
            NEWEST.labels(symbol).set(newest.timestamp())
            judged += found.height
            if due.height < MAX_FORECASTS:
                return judged

    def _due(self, symbol: str) -> pl.DataFrame:
        newest = self.newest_event(symbol)
        if newest is None:
            return pl.DataFrame()
        spans = []
        for horizon in HORIZONS_S:
            since, done = self._since(symbol, horizon)
            until = newest - timedelta(seconds=horizon) - SETTLE
            compare = ">" if done else ">="
            spans.append(f"(horizon_s = {horizon} AND ts {compare} {instant(since)} AND ts <= {instant(until)})")
        where = f"symbol = {text(symbol)} AND ({' OR '.join(spans)})"
        sql = f"SELECT * FROM {GOLD_FORECASTS.name} WHERE {where}"
        found = self._database.frame(f"{sql} ORDER BY ts LIMIT {MAX_FORECASTS}")
        if found.height < MAX_FORECASTS:
            return found
        # Whole timestamps: the next round goes on after the last one and would never see siblings beyond the limit.
        return self._database.frame(f"{sql} AND ts <= {instant(found.item(-1, 'ts'))} ORDER BY ts")

    def _since(self, symbol: str, horizon: int) -> tuple[datetime, bool]:
        """Where to go on; after a start, at the newest score, some of whose siblings may be missing."""
        if (symbol, horizon) not in self._done:
            where = "symbol = %s AND horizon_s = %s ORDER BY ts DESC LIMIT 1"
            rows = self._database.rows(f"SELECT ts FROM {GOLD_FORECAST_SCORES.name} WHERE {where}", [symbol, horizon])
            self._done[symbol, horizon] = (rows[0][0] if rows else BEGINNING, False)
        return self._done[symbol, horizon]

    def newest_event(self, symbol: str) -> datetime | None:
        """Time of the symbol's newest trade or quote, UTC."""
        found = []
        for table in ("bronze_trades", "bronze_quotes"):
            rows = self._database.rows(f"SELECT ts FROM {table} WHERE symbol = %s ORDER BY ts DESC LIMIT 1", [symbol])
            found += [row[0] for row in rows]
        return max(found, default=None)


def tell_skill(database: QuestDB) -> None:
    """Sets `SKILL` from the views of live skill."""
    for window in WINDOWS:
        for symbol, target, horizon, skill in database.rows(
            f"SELECT symbol, target, horizon_s, skill FROM gold_skill_{window} WHERE skill IS NOT NULL"
        ):
            SKILL.labels(target, horizon, symbol, window).set(skill)


def score_all(database: QuestDB, scorer: Scorer, calibrator: Calibrator, symbols: tuple[str, ...]) -> int:
    """One round over every symbol; returns the number of forecasts scored."""
    judged = sum(scorer.score(symbol) for symbol in symbols)
    database.wait_applied([GOLD_FORECAST_SCORES.name])
    if (newest := max(filter(None, map(scorer.newest_event, symbols)), default=None)) is not None:
        _calibrate(calibrator, newest)
    tell_skill(database)
    return judged


def _calibrate(calibrator: Calibrator, newest: datetime) -> None:
    try:
        calibrator.advance(newest)
    except RetryableError as error:
        log.info("intervals stay as they are for now: %s", error)


def main(settings: Settings, stop: threading.Event) -> None:
    """Scores due forecasts, and exports what the tables tell, every few seconds until stopped."""
    threads = BackgroundThreads(stop)
    # Not between two rounds of scoring: without QuestDB a round never ends, and the facts must then be known to be old.
    threads.start("facts", lambda: lake_facts.export(settings, stop))
    _score(settings, stop, once=False)
    threads.join(JOIN_S)
    threads.check()


def score_once(settings: Settings, stop: threading.Event) -> int:
    """Scores what is due now; returns the number of forecasts scored."""
    return _score(settings, stop, once=True)


def _score(settings: Settings, stop: threading.Event, once: bool) -> int:
    judged = 0
    database = QuestDB(settings)
    scorer, calibrator = Scorer(database, settings.vol_step_s), Calibrator(database, lambda: ask_api(settings))
    try:
        process.retrying(lambda: database.migrate(TABLES, ()), stop, "migrating")
        step = partial(score_all, database, scorer, calibrator, settings.symbols)
        while not stop.is_set():
            judged = process.retrying(step, stop, "scoring")
            log.log(logging.INFO if once else logging.DEBUG, "judged %d forecasts", judged)
            if once or stop.wait(EVERY_S):
                break
    except RetryableError:
        log.warning("stopped while QuestDB was away; the next start goes on from the newest score")
    finally:
        database.close()
    return judged
