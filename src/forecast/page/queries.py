"""The page's read-only queries of QuestDB: candles, forecasts with outcomes, skill, completeness."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from forecast.model.targets import Target
from lakehouse.schema import OHLC_INTERVALS
from lakehouse.stores.bronze import text, within
from lakehouse.stores.questdb import QuestDB

CANDLE_COLUMNS = ("ts", "open", "high", "low", "close", "volume", "vwap", "trades", "closed")
TRACK_COLUMNS = ("ts", "value", "lower", "upper", "lower_95", "upper_95", "baseline", "truth")
SKILL_COLUMNS = ("symbol", "target", "horizon_s", "n", "skill", "coverage_80", "coverage_95")
FEED_COLUMNS = ("symbol", "minutes", "complete", "missing", "doubles", "newest")
# A chart is some hundred pixels wide; more points than this cannot be told apart on it.
TRACK_POINTS = 360
QueryRow = dict[str, Any]


class Queries:
    """The page's queries; `RetryableError` while QuestDB is away, `FatalError` before its tables exist."""

    def __init__(self, database: QuestDB) -> None:
        self._database = database

    def candles(self, symbol: str, interval: str, start: datetime, end: datetime, most: int) -> list[QueryRow]:
        """Candles that begin in ``start <= ts < end`` (UTC), oldest first, at most ``most`` and the newest of them."""
        assert interval in OHLC_INTERVALS
        sql = (
            f"SELECT {', '.join(CANDLE_COLUMNS)} FROM gold_candles_{interval} "
            f"WHERE {within(symbol, start, end)} ORDER BY ts DESC LIMIT {most}"
        )
        rows = self._database.rows(sql)
        return _named(CANDLE_COLUMNS, rows[::-1])

    def running_candles(self, symbols: Sequence[str], interval: str = "1m", last: int = 3) -> dict[str, list[QueryRow]]:
        """The newest candles of each symbol, the last one still running."""
        now = datetime.now(UTC)
        since = now - timedelta(minutes=10)
        return {s: self.candles(s, interval, since, now + timedelta(minutes=1), last) for s in symbols}

    def track(self, symbol: str, target: Target, horizon_s: int, start: datetime, end: datetime) -> list[QueryRow]:
        """Forecasts made in ``start <= ts < end`` with outcomes (None: not yet scored), thinned out."""
        every_s = max(1, int((end - start).total_seconds()) // TRACK_POINTS)
        last = ", ".join(f"last({name}) {name}" for name in ("seq", *TRACK_COLUMNS[1:-1]))
        where = f"{within(symbol, start, end)} AND target = {text(target)} AND horizon_s = {horizon_s}"
        told = ", ".join(f"f.{name}" for name in TRACK_COLUMNS[1:-1])
        sql = (
            f"WITH f AS (SELECT last(ts) at, {last} FROM (SELECT * FROM gold_forecasts WHERE {where}) "
            f"SAMPLE BY {every_s}s), s AS (SELECT ts, seq, truth FROM gold_forecast_scores WHERE {where}) "
            f"SELECT f.at, {told}, s.truth FROM f LEFT JOIN s ON s.ts = f.at AND s.seq = f.seq ORDER BY f.at"
        )
        return _named(TRACK_COLUMNS, self._database.rows(sql))

    def skill(self, window: str) -> list[QueryRow]:
        """Live skill and coverage per symbol, target and horizon over the last ``1h`` or ``1d``."""
        assert window in ("1h", "1d")
        columns = ", ".join(SKILL_COLUMNS)
        rows = self._database.rows(f"SELECT {columns} FROM gold_skill_{window} ORDER BY symbol, target, horizon_s")
        return _named(SKILL_COLUMNS, rows)

    def feed(self) -> list[QueryRow]:
        """Per symbol over the last 60 minutes: minutes with trades, how many are complete, ids missing and doubled."""
        # Below zero: the span begins between two minutes that share a range of ids.
        missing = "sum(holes_inside + holes_before)"
        sql = (
            "SELECT symbol, count() minutes, sum(CASE WHEN complete THEN 1 ELSE 0 END) complete, "
            f"CASE WHEN {missing} < 0 THEN 0 ELSE {missing} END missing, "
            "sum(doubles) doubles, max(ts) newest FROM bronze_completeness "
            "WHERE ts > dateadd('m', -60, now()) ORDER BY symbol"
        )
        return _named(FEED_COLUMNS, self._database.rows(sql))

    def latency(self) -> QueryRow:
        """Milliseconds from an event's receipt to its forecast over the last 5 minutes: p50, p99 and how many."""
        sql = (
            "SELECT approx_percentile(latency_ms, 0.5), approx_percentile(latency_ms, 0.99), count() "
            "FROM gold_forecasts WHERE ts > dateadd('m', -5, now()) AND latency_ms >= 0 "
            "AND target = 'bid' AND horizon_s = 60"
        )
        return _named(("p50_ms", "p99_ms", "n"), self._database.rows(sql))[0]


def _named(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[QueryRow]:
    return [{name: _plain(value) for name, value in zip(columns, row, strict=True)} for row in rows]


def _plain(value: Any) -> Any:
    # psycopg2 gives NaN for DOUBLE nulls in some views; JSON knows null only.
    return None if isinstance(value, float) and value != value else value
