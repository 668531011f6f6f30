"""What Grafana shows and when it alarms, as data; `build.py` turns it into dashboards and alert rules."""

from dataclasses import dataclass
from typing import Literal

Source = Literal["sql", "prom"]
HORIZONS = (60, 120, 180, 240, 300)


@dataclass(frozen=True, slots=True)
class Query:
    """A query against QuestDB (``sql``) or Prometheus (``prom``)."""

    text: str
    source: Source = "sql"
    legend: str = ""
    shape: Literal["time_series", "table"] = "time_series"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: ``width`` in Grafana's 24 columns, ``unit`` as Grafana names it."""

    title: str
    about: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat", "table", "candlestick"] = "timeseries"
    unit: str = "short"
    width: int = 12


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    name: str
    title: str
    about: str
    panels: tuple[Panel, ...]
    variables: tuple[str, ...] = ("symbol",)
    span: str = "now-1h"

    @property
    def uid(self) -> str:
        """Fixed, so that links and provisioning survive."""
        return f"tradelake-{self.name}"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert: the query's last value compared with ``limit`` for ``lasting``."""

    uid: str
    title: str
    query: Query
    when: Literal["gt", "lt"]
    limit: float
    lasting: str
    summary: str
    runbook: str
    severity: Literal["warning", "critical"] = "warning"
    no_data: Literal["OK", "Alerting", "NoData"] = "OK"


# name: (label, query, several at once)
VARIABLES = {
    "symbol": ("Symbol", "SELECT DISTINCT symbol FROM gold_ohlc_1m ORDER BY symbol", False),
    "horizon": ("Horizon (s)", "SELECT DISTINCT horizon_s FROM gold_forecasts ORDER BY horizon_s", False),
    "feature": (
        "Feature",
        "SELECT \"column\" FROM table_columns('silver_features') WHERE type = 'DOUBLE' ORDER BY \"column\"",
        False,
    ),
}


def sql(text: str, shape: Literal["time_series", "table"] = "time_series") -> Query:
    """A query against QuestDB."""
    return Query(" ".join(text.split()), "sql", shape=shape)


def prom(text: str, legend: str = "") -> Query:
    """A query against Prometheus."""
    return Query(text, "prom", legend)


def quantiles(metric: str) -> tuple[Query, ...]:
    """Median, 95th and 99th percentile of a histogram over five minutes."""
    return tuple(
        prom(f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket[5m])))", f"p{round(q * 100)}")
        for q in (0.5, 0.95, 0.99)
    )


MARKET = Board(
    "market",
    "Tradelake: market",
    "Price, spread, volume and the proof that no trade is missing.",
    (
        Panel(
            "Candles, 1 minute",
            "gold_ohlc_1m; the newest candle is still running.",
            (
                sql(
                    "SELECT ts AS time, open, high, low, close, volume FROM gold_ohlc_1m "
                    "WHERE $__timeFilter(ts) AND symbol = '$symbol' ORDER BY ts",
                    "table",
                ),
            ),
            "candlestick",
            width=16,
        ),
        Panel(
            "Complete minutes",
            "Share of minutes whose trade ids have no hole, and holes still open.",
            (
                sql(
                    "SELECT symbol, count() AS minutes, 100.0 * sum(CASE WHEN complete THEN 1 ELSE 0 END) / count() AS "
                    "complete_pct, sum(holes) AS holes_open, sum(trades) AS trades FROM bronze_completeness "
                    "WHERE $__timeFilter(ts) GROUP BY symbol ORDER BY symbol",
                    "table",
                ),
            ),
            "table",
            width=8,
        ),
        Panel(
            "Best bid and ask",
            "From bronze_quotes, last of each step.",
            (
                sql(
                    "SELECT ts AS time, last(bid) AS bid, last(ask) AS ask FROM bronze_quotes "
                    "WHERE $__timeFilter(ts) AND symbol = '$symbol' SAMPLE BY $__interval ORDER BY ts"
                ),
            ),
        ),
        Panel(
            "Spread",
            "Mean of (ask - bid) / mid, in basis points.",
            (
                sql(
                    "SELECT ts AS time, symbol AS metric, avg(20000 * (ask - bid) / (ask + bid)) AS value "
                    "FROM bronze_quotes WHERE $__timeFilter(ts) SAMPLE BY $__interval ORDER BY ts"
                ),
            ),
        ),
        Panel(
            "Volume per minute",
            "Base units.",
            (
                sql(
                    "SELECT ts AS time, volume FROM gold_ohlc_1m "
                    "WHERE $__timeFilter(ts) AND symbol = '$symbol' ORDER BY ts"
                ),
            ),
        ),
        Panel(
            "Trades per minute",
            "By symbol.",
            (
                sql(
                    "SELECT ts AS time, symbol AS metric, trades AS value FROM gold_ohlc_1m "
                    "WHERE $__timeFilter(ts) ORDER BY ts"
                ),
            ),
        ),
    ),
)

FEATURES = Board(
    "features",
    "Tradelake: features",
    "The features as the models see them.",
    (
        Panel(
            "$feature",
            "The chosen feature, by symbol.",
            (
                sql(
                    'SELECT ts AS time, symbol AS metric, last("$feature") AS value FROM silver_features '
                    "WHERE $__timeFilter(ts) AND origin = 'live' SAMPLE BY $__interval ORDER BY ts"
                ),
            ),
            width=24,
        ),
        Panel(
            "Realised volatility, 5 minutes",
            "Square root of rv_5m.",
            (
                sql(
                    "SELECT ts AS time, symbol AS metric, sqrt(last(rv_5m)) AS value FROM silver_features "
                    "WHERE $__timeFilter(ts) AND origin = 'live' SAMPLE BY $__interval ORDER BY ts"
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Rows per minute",
            "Feature rows as emitted, and how many were complete.",
            (
                sql(
                    "SELECT ts AS time, count() AS rows, sum(CASE WHEN complete THEN 1 ELSE 0 END) AS complete "
                    "FROM silver_features WHERE $__timeFilter(ts) AND origin = 'live' AND symbol = '$symbol' "
                    "SAMPLE BY 1m ORDER BY ts"
                ),
            ),
        ),
    ),
    ("symbol", "feature"),
)

FORECASTS = Board(
    "forecasts",
    "Tradelake: forecasts",
    "What was forecast, what happened, and whether it beat the baseline.",
    (
        Panel(
            "Bid: forecast against truth",
            "Each forecast at the time it was due.",
            (
                sql(
                    "SELECT due AS time, value AS forecast, baseline, truth FROM gold_forecast_scores WHERE "
                    "$__timeFilter(ts) AND symbol = '$symbol' AND target = 'bid' AND horizon_s = $horizon ORDER BY due"
                ),
            ),
        ),
        Panel(
            "Volatility: forecast against truth",
            "Each forecast at the time it was due.",
            (
                sql(
                    "SELECT due AS time, value AS forecast, baseline, truth FROM gold_forecast_scores WHERE "
                    "$__timeFilter(ts) AND symbol = '$symbol' AND target = 'vol' AND horizon_s = $horizon ORDER BY due"
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Bid: forecast with its 80 % interval",
            "As served.",
            (
                sql(
                    "SELECT ts AS time, value, lower, upper FROM gold_forecasts WHERE $__timeFilter(ts) "
                    "AND symbol = '$symbol' AND target = 'bid' AND horizon_s = $horizon ORDER BY ts"
                ),
            ),
        ),
        Panel(
            "Skill against the baseline",
            "1 - loss / baseline loss per 15 minutes; above 0 is better than the best simple rule.",
            (
                sql(
                    "SELECT ts AS time, concat(target, ' ', symbol) AS metric, "
                    "1 - sum(loss) / sum(baseline_loss) AS value "
                    "FROM gold_forecast_scores WHERE $__timeFilter(ts) AND horizon_s = $horizon "
                    "SAMPLE BY 15m ORDER BY ts"
                ),
            ),
        ),
        Panel(
            "Interval coverage",
            "Share of truths inside the 80 % and 95 % intervals.",
            (
                sql(
                    "SELECT target, horizon_s, count() AS n, "
                    "100.0 * sum(CASE WHEN inside_80 THEN 1 ELSE 0 END) / count() AS inside_80_pct, "
                    "100.0 * sum(CASE WHEN inside_95 THEN 1 ELSE 0 END) / count() AS inside_95_pct, "
                    "1 - sum(loss) / sum(baseline_loss) AS skill FROM gold_forecast_scores "
                    "WHERE $__timeFilter(ts) AND symbol = '$symbol' "
                    "GROUP BY target, horizon_s ORDER BY target, horizon_s",
                    "table",
                ),
            ),
            "table",
        ),
        Panel(
            "Model versions",
            "Which version served, since when.",
            (
                sql(
                    "SELECT model_version, target, min(ts) AS first, max(ts) AS newest, count() AS forecasts "
                    "FROM gold_forecasts WHERE $__timeFilter(ts) GROUP BY model_version, target ORDER BY newest DESC",
                    "table",
                ),
            ),
            "table",
        ),
    ),
    ("symbol", "horizon"),
)

PIPELINE = Board(
    "pipeline",
    "Tradelake: pipeline",
    "From the exchange to the stored forecast: how fast, how far behind, what went wrong.",
    (
        Panel(
            "Event to forecast",
            "From receipt to the stored forecast.",
            quantiles("event_to_forecast_seconds"),
            unit="s",
        ),
        Panel(
            "Consumer lag",
            "Records in Kafka that are not yet in bronze.",
            (prom("sum by (topic) (consumer_lag_records)", "{{topic}}"),),
        ),
        Panel(
            "Trades per second",
            "As stored in bronze, by symbol and source.",
            (
                prom(
                    'sum by (symbol, source) (rate(trades_ingested_total{job="consumer"}[1m]))', "{{symbol}} {{source}}"
                ),
            ),
        ),
        Panel(
            "Reconnects",
            "Of the exchange's WebSocket, by reason, per 10 minutes.",
            (prom("sum by (reason) (increase(ws_reconnects_total[10m]))", "{{reason}}"),),
        ),
        Panel("Open holes", "Trade ids not yet refilled.", (prom("sum by (symbol) (trade_holes_open)", "{{symbol}}"),)),
        Panel(
            "Dead letters",
            "Messages set aside, by reason, per 10 minutes.",
            (prom('sum by (reason) (increase({__name__=~".*dead_letters_total"}[10m]))', "{{reason}}"),),
        ),
        Panel(
            "Freshness of features",
            "Age of the newest feature row.",
            (prom("max by (symbol) (feature_freshness_seconds)", "{{symbol}}"),),
            unit="s",
        ),
        Panel(
            "Requests to the API",
            "Per second, by route and status.",
            (prom("sum by (route, status) (rate(http_requests_total[1m]))", "{{route}} {{status}}"),),
        ),
    ),
    (),
)

OPERATIONS = Board(
    "operations",
    "Tradelake: operations",
    "Health of the services, backups, restore drills and quality checks.",
    (
        Panel("Up", "1 where a process answers Prometheus.", (prom("up", "{{job}}"),), "stat", width=24),
        Panel(
            "Hours since the last verified backup",
            "Alarm above 26.",
            (prom("(time() - backup_last_verified_timestamp_seconds) / 3600", "hours"),),
            "stat",
            "h",
            8,
        ),
        Panel(
            "QuestDB memory",
            "As QuestDB reports it.",
            (prom("questdb_memory_rss", "rss"), prom("questdb_memory_mem_used", "native")),
            unit="bytes",
            width=8,
        ),
        Panel("Redis memory", "Used bytes.", (prom("redis_memory_used_bytes", "used"),), unit="bytes", width=8),
        Panel(
            "Quality checks",
            "The newest figures of quality_hourly.",
            (
                sql(
                    "SELECT ts, symbol, target, horizon_s, measure, feature, value, n, detail FROM gold_quality "
                    "WHERE $__timeFilter(ts) ORDER BY ts DESC LIMIT 200",
                    "table",
                ),
            ),
            "table",
            width=24,
        ),
    ),
    (),
    "now-24h",
)

DASHBOARDS = (MARKET, FEATURES, FORECASTS, PIPELINE, OPERATIONS)
RUNBOOKS = "docs/runbooks"

ALERTS = (
    Alert(
        "tradelake-feed-silent",
        "Feed silent",
        prom("max(time() - ws_last_frame_timestamp_seconds)"),
        "gt",
        60,
        "1m",
        "No frame from the exchange for a minute.",
        f"{RUNBOOKS}/feed-down.md",
        "critical",
        "Alerting",
    ),
    Alert(
        "tradelake-hole-open",
        "Hole open for more than 10 minutes",
        prom("sum(trade_holes_open)"),
        "gt",
        0,
        "10m",
        "Trade ids are missing and REST has not given them.",
        f"{RUNBOOKS}/hole-open.md",
        "critical",
    ),
    Alert(
        "tradelake-lag",
        "Consumer lag growing",
        prom("sum(deriv(consumer_lag_records[10m]))"),
        "gt",
        50,
        "10m",
        "The consumer falls behind Kafka.",
        f"{RUNBOOKS}/lag.md",
    ),
    Alert(
        "tradelake-skill",
        "Skill below zero",
        sql(
            "SELECT 1 - sum(loss) / sum(baseline_loss) AS skill FROM gold_forecast_scores "
            "WHERE ts > dateadd('d', -1, now()) AND target = 'vol'",
            "table",
        ),
        "lt",
        0,
        "1h",
        "Over a day the served volatility forecast was worse than the best simple rule.",
        f"{RUNBOOKS}/model-rolled-back.md",
    ),
    Alert(
        "tradelake-coverage",
        "Interval coverage off",
        sql(
            "SELECT abs(1.0 * sum(CASE WHEN inside_80 THEN 1 ELSE 0 END) / count() - 0.8) AS off "
            "FROM gold_forecast_scores WHERE ts > dateadd('d', -1, now())",
            "table",
        ),
        "gt",
        0.1,
        "1h",
        "Over a day the 80 % interval held the truth more than 10 points too often or too seldom.",
        f"{RUNBOOKS}/model-rolled-back.md",
    ),
    Alert(
        "tradelake-backup",
        "Backup older than 26 hours",
        prom("(time() - backup_last_verified_timestamp_seconds) / 3600"),
        "gt",
        26,
        "10m",
        "The last verified backup is too old.",
        f"{RUNBOOKS}/backup.md",
    ),
    Alert(
        "tradelake-disk",
        "Disk nearly full",
        prom("min(disk_free_ratio)"),
        "lt",
        0.1,
        "5m",
        "Less than a tenth of the disk under the lake is free.",
        f"{RUNBOOKS}/questdb-full.md",
        "critical",
    ),
)
