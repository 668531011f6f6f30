"""Grafana's alerts, each with its runbook."""

from grafana.model import BACKUP_AGE_H, Alert, prom, sql

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
        "Trade ids are missing and could not be fetched over REST.",
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
        "The consumer is falling behind Kafka.",
        f"{RUNBOOKS}/lag.md",
    ),
    Alert(
        "tradelake-no-forecasts",
        "No forecasts although feature rows arrive",
        prom(
            "(sum(increase(feature_rows_written_total[5m])) > bool 0)"
            " * ((sum(increase(forecasts_stored_total[5m])) or vector(0)) == bool 0)"
        ),
        "gt",
        0,
        "1m",
        "Feature rows are written, but no forecast was stored for five minutes.",
        f"{RUNBOOKS}/no-forecasts.md",
        "critical",
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
        "Over a day the coverage of the 80 % interval was off by more than 10 percentage points.",
        f"{RUNBOOKS}/model-rolled-back.md",
    ),
    Alert(
        "tradelake-backup",
        "Backup older than 26 hours",
        prom(BACKUP_AGE_H),
        "gt",
        26,
        "10m",
        "The last verified backup is too old, or there was none since the lake started.",
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
