"""Dashboards over the services: the pipeline and its operation."""

from grafana.model import Board, Panel, prom, quantiles, sql
from stack.alerting.rules import BACKUP_AGE_H

PIPELINE = Board(
    "pipeline",
    "Tradelake: pipeline",
    "From the exchange to the stored forecast: latency, lag and errors.",
    (
        Panel(
            "Event to forecast",
            "From receipt to the stored forecast.",
            quantiles("event_to_forecast_seconds"),
            unit="s",
        ),
        Panel(
            "Consumer lag",
            "Records in Kafka not yet in bronze.",
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
        Panel("Up", "1 if a process answers Prometheus.", (prom("up", "{{job}}"),), "stat", width=12),
        Panel(
            "Alerts",
            "Pending and firing alerts; docs/alerts.md lists them all.",
            (prom("max by (alertname, alertstate) (ALERTS)", "{{alertname}} {{alertstate}}"),),
        ),
        Panel(
            "Hours since the last verified backup",
            "Alarm above 26.",
            (prom(BACKUP_AGE_H, "hours"),),
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
            "DAG results",
            "Last result of each Airflow task, its tries, and how often it failed and ran.",
            (
                sql(
                    "SELECT feature AS task, last(detail) AS ended, max(ts) AS at, last(n) AS tries, "
                    "sum(1 - value) AS failed, count() AS runs FROM gold_quality "
                    "WHERE measure = 'task' AND $__timeFilter(ts) GROUP BY feature ORDER BY failed DESC, feature",
                    "table",
                ),
            ),
            "table",
        ),
        Panel(
            "Backups, drills and replays",
            "When a backup was read back or test-restored, and how many rows differed in a day's replay.",
            (
                sql(
                    "SELECT ts, measure, symbol, detail, n, "
                    "CASE WHEN measure = 'replay_differing' THEN value END AS differ FROM gold_quality "
                    "WHERE measure IN ('backup_verified', 'replay_differing') AND $__timeFilter(ts) "
                    "ORDER BY ts DESC LIMIT 100",
                    "table",
                ),
            ),
            "table",
        ),
        Panel(
            "Quality checks",
            "The newest results of quality_hourly.",
            (
                sql(
                    "SELECT ts, symbol, target, horizon_s, measure, feature, value, n, detail FROM gold_quality "
                    "WHERE measure != 'task' AND $__timeFilter(ts) ORDER BY ts DESC LIMIT 200",
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
